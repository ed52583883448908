"""A request for Triton's generate extension: one text in, and numbers by the names that its models share. Pure.

The extension passes on whatever stands beside the text, and each model makes of it what it knows. The names
here are those on which Triton's backends for vLLM and TensorRT-LLM agree. Source: the extension's documentation,
vLLM's backend, and what Triton's own OpenAI frontend asks of both.
"""

from typing import Any

import msgspec

from adapters.chat_request import Members, default_limit, messages_of, token_limit_of
from adapters.dialect import AttemptContext
from adapters.openai_subset import not_served
from adapters.prompt import prompt_of
from adapters.prompt_text import prompt_text
from adapters.request_members import ASKS_NOTHING, OUR_OWN
from adapters.stop_sequences import stops_of
from adapters.unsupported import Cannot
from contracts.inference import InferRequest

ENGINE = "triton"
PASSED_ON = (
    "temperature",
    "top_p",
    "top_k",
    "presence_penalty",
    "frequency_penalty",
    "repetition_penalty",
    "seed",
)
TOLD = ("return_finish_reason", "return_num_input_tokens", "return_num_output_tokens")
"""Switches for outputs beside the text, which vLLM's backend has; others pass over them."""
MAX_TOKENS = 1024
"""For a client that named no limit: TensorRT-LLM wants one, and vLLM's backend would stop after 16."""
_MOST_TOKENS = 2**31 - 1
"""Its models' limits are 32 bits wide: a larger one would arrive as another number."""
_encode = msgspec.json.Encoder().encode


def generate_request(infer: InferRequest, attempt: AttemptContext) -> tuple[bytes, tuple[str, ...]]:
    """The body, and the names of members that were left out.

    Raises InvalidField for what is wrong, UnsupportedParameter for what cannot be said there.
    """
    if infer.operation == "embedding":
        raise not_served(ENGINE, infer.operation)
    cannot = Cannot(ENGINE, attempt.unsupported)
    if infer.facts.n > 1:
        cannot.refuse("n", "it gives one answer to a request")
    given = {**infer.members, **attempt.overrides}
    members = Members({n: v for n, v in given.items() if n not in OUR_OWN}, ASKS_NOTHING)
    if infer.operation == "chat":
        text = _chat(members, attempt, cannot)
    else:
        text = prompt_of(members, cannot)
    body: dict[str, Any] = {"id": infer.request_id, "text_input": text, "stream": True}
    body["max_tokens"] = limit_sent(members, attempt)
    body |= {name: raw for name in PASSED_ON if (raw := members.raw(name)) is not None}
    body |= dict.fromkeys(TOLD, True)
    stops_of(given)  # carried out here; now is the time to say that they are wrong
    members.raw("stop")
    for name in members.left():
        cannot.parameter(name)
    return _encode(body), cannot.dropped


def limit_sent(members: Members, attempt: AttemptContext) -> int:
    """The most tokens that a request of these members, the policy's in their place, may generate."""
    limit = token_limit_of(members, attempt.max_tokens)
    return min(limit or default_limit(MAX_TOKENS, attempt.context), _MOST_TOKENS)


def _chat(members: Members, attempt: AttemptContext, cannot: Cannot) -> str:
    if attempt.template is None:
        cannot.refuse("messages", "nothing says how a chat is written for this model")
    messages = messages_of(members)
    return prompt_text(messages, attempt.template, cannot, continues=attempt.continues)
