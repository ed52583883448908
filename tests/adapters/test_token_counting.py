"""What a backend is asked to count a prompt, and what is made of its answers. The numbers themselves are
compared with those of a real server in tests/real."""

import json
from typing import Any

import msgspec
import pytest

from adapters.dialect import AttemptContext, Counting, TokenCount, WireHead, WireRequest
from adapters.registry import dialect_for
from adapters.token_counting import countable
from contracts.config import Engine
from contracts.inference import InferRequest
from gateway.intake import read_request

pytestmark = pytest.mark.req("ADM-1")

USER = {"role": "user", "content": "Say hi"}
IMAGE = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,x"}}]}
PARTS = {"role": "user", "content": [{"type": "text", "text": "Say"}, {"type": "refusal"}]}
TOOL = {"type": "function", "function": {"name": "weather"}}


def chat(*messages: dict[str, Any], **members: Any) -> InferRequest:
    body = {"model": "m", "messages": list(messages or (USER,)), **members}
    return read_request(
        json.dumps(body).encode(), "chat", request_id="r-1", key="", headers={"x-secret": "s"}
    )


def completion(prompt: Any, **members: Any) -> InferRequest:
    body = json.dumps({"model": "m", "prompt": prompt, **members}).encode()
    return read_request(body, "completion", request_id="r-1", key="", headers={})


def asking(engine: Engine, infer: InferRequest, **attempt: Any) -> Counting:
    context = AttemptContext(upstream_model="up", **attempt)
    counting = dialect_for(engine).counting(infer, context)
    assert counting is not None
    return counting


def told(counting: Counting, body: Any, status: int = 200) -> WireRequest | TokenCount | None:
    """The next question, or the count."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    try:
        return counting.send((WireHead(status=status, headers={}), raw))
    except StopIteration as done:
        return done.value


def body_of(request: WireRequest) -> Any:
    return json.loads(request.body)


def test_llamacpp_counts_a_chat_as_it_would_answer_it_but_is_not_asked_to_answer() -> None:
    asked = chat(tools=[TOOL], stream=True, stream_options={"include_usage": True}, seed=1)
    counting = asking("llamacpp", asked, overrides={"seed": msgspec.Raw(b"2")}, api_key="k")
    request = next(counting)
    assert (request.method, request.path) == ("POST", "/v1/chat/completions/input_tokens")
    assert body_of(request) == {"model": "up", "messages": [USER], "tools": [TOOL], "seed": 2}
    assert dict(request.headers)["authorization"] == "Bearer k"
    assert "x-secret" not in dict(request.headers)
    assert told(counting, {"input_tokens": 32}) == TokenCount(tokens=32)


def test_tools_that_llamacpp_will_not_be_told_of_do_not_count() -> None:
    request = next(asking("llamacpp", chat(tools=[TOOL], tool_choice="none")))
    assert body_of(request) == {"model": "up", "messages": [USER]}


def test_an_older_llamacpp_is_asked_for_its_template_and_then_for_the_tokens() -> None:
    counting = asking("llamacpp", chat())
    next(counting)
    template = told(counting, {"error": {"message": "File Not Found"}}, 404)
    assert isinstance(template, WireRequest)
    assert (template.path, body_of(template)["messages"]) == ("/apply-template", [USER])
    tokens = told(counting, {"prompt": "<|im_start|>"})
    assert isinstance(tokens, WireRequest)
    assert tokens.path == "/tokenize"
    assert body_of(tokens) == {
        "content": "<|im_start|>",
        "add_special": True,
        "parse_special": True,
    }
    assert told(counting, {"tokens": [1, 2, 3]}) == TokenCount(tokens=3)


@pytest.mark.parametrize(
    ("prompt", "content"),
    [("a b", "a b"), (["a b"], "a b"), ([1, 2], [1, 2]), ([[1, 2]], [1, 2]), ([5, "a"], [5, "a"])],
)
def test_llamacpp_tokenizes_a_prompt_of_any_one_kind(prompt: Any, content: Any) -> None:
    request = next(asking("llamacpp", completion(prompt)))
    assert (request.path, body_of(request)["content"]) == ("/tokenize", content)


def test_vllm_tokenizes_what_its_template_reads_and_tells_the_context() -> None:
    template = {"enable_thinking": False}
    asked = chat(tools=[TOOL], chat_template_kwargs=template, stream=True, max_tokens=5, seed=1)
    counting = asking("vllm", asked)
    request = next(counting)
    assert request.path == "/tokenize"
    assert body_of(request) == {
        "model": "up",
        "messages": [USER],
        "tools": [TOOL],
        "chat_template_kwargs": template,
    }
    answer = {"count": 9, "max_model_len": 1024, "tokens": [0] * 9, "token_strs": None}
    assert told(counting, answer) == TokenCount(tokens=9, context=1024)


def test_vllm_tokenizes_text_and_counts_tokens_without_being_asked() -> None:
    counting = asking("vllm", completion("a b", add_special_tokens=False))
    assert body_of(next(counting)) == {"model": "up", "prompt": "a b", "add_special_tokens": False}
    with pytest.raises(StopIteration) as done:
        next(asking("vllm", completion([7, 8, 9])))
    assert done.value.value == TokenCount(tokens=3)


@pytest.mark.parametrize("engine", ["llamacpp", "vllm", "llmd", "embedded"])
@pytest.mark.parametrize("status", [200, 400, 404, 500, 503])
@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"\xff", b"[" * 50_000, b'{"count":"1"}'])
def test_an_answer_that_makes_no_sense_is_no_count(
    engine: Engine, status: int, body: bytes
) -> None:
    for infer in (chat(), completion("a")):
        counting = asking(engine, infer)
        next(counting)
        found = told(counting, body, status)
        assert isinstance(found, WireRequest) <= (status == 404)  # older servers alone are asked on
        while isinstance(found, WireRequest):
            found = told(counting, body, status)
        assert found is None


@pytest.mark.parametrize("engine", ["llamacpp", "vllm", "llmd"])
def test_what_no_tokenizer_counts_is_not_asked_about(engine: Engine) -> None:
    uncounted = [
        chat(USER, IMAGE),
        completion(["a", "b"]),
        completion([[1], [2]]),
        completion([]),
        read_request(b'{"model":"m","input":"a"}', "embedding", request_id="r", key="", headers={}),
    ]
    for infer in uncounted:
        assert not countable(infer)
        assert dialect_for(engine).counting(infer, AttemptContext(upstream_model="up")) is None
    for infer in (chat(PARTS), chat({"role": "assistant", "content": None}), completion("")):
        assert countable(infer)


def test_openai_has_no_tokenizer_to_ask() -> None:
    assert dialect_for("openai").counting(chat(), AttemptContext(upstream_model="up")) is None
