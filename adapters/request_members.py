"""A request's members as a translating dialect accounts for them: which it must look at, and which ask nothing.

Pure. What must stay true: each member of the client's request travels on, is refused by its name, or is named
as dropped.
"""

from typing import Any

from adapters.chat_request import Members
from adapters.dialect import AttemptContext
from adapters.unsupported import Cannot
from contracts.inference import InferRequest

OUR_OWN = frozenset({"model", "stream", "stream_options", "n"})
"""Members that are not the client's to send on: decided here, or judged by `facts`."""
ASKS_NOTHING: dict[str, Any] = {
    "frequency_penalty": 0,
    "presence_penalty": 0,
    "logit_bias": {},
    "logprobs": False,
    "top_logprobs": 0,
    "top_p": 1,
    "store": False,
    "modalities": ["text"],
    "functions": [],
    "function_call": "auto",
    "tools": [],
    "tool_choice": "auto",
    "parallel_tool_calls": True,
    "reasoning_effort": "none",
    "response_format": {"type": "text"},
    "service_tier": "auto",
    "echo": False,
    "best_of": 1,
}
"""Values that are what happens anyway."""


def members_of(infer: InferRequest, attempt: AttemptContext) -> Members:
    """What the client asks and this attempt overrides, for the dialect to take out one by one."""
    given = {**infer.members, **attempt.overrides}
    return Members({n: v for n, v in given.items() if n not in OUR_OWN}, ASKS_NOTHING)


def refuse_many(infer: InferRequest, cannot: Cannot) -> None:
    """For a backend that gives one answer to a request. Raises UnsupportedParameter."""
    if infer.facts.n > 1:
        cannot.refuse("n", "it gives one answer to a request")
