"""Requests become what Ollama takes: checked against the fake's rules, which refuse what Ollama passes over."""

import json
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.dialect import AttemptContext, WireRequest
from adapters.ollama import OllamaDialect
from contracts.config import Unsupported
from contracts.errors import ClientFault, InvalidField, UnsupportedParameter
from contracts.inference import Operation
from gateway.intake import read_request
from tests.adapters.conformance.scenarios import SCENARIOS, TOOLS
from tests.fakes.ollama_rules import complaint

OLLAMA = OllamaDialect()
MODEL = "qwen3:8b"
HI = [{"role": "user", "content": "Hi"}]
ASKED: dict[Operation, dict[str, Any]] = {
    "chat": {"messages": HI},
    "completion": {"prompt": "Once"},
    "embedding": {"input": "a"},
}

pytestmark = pytest.mark.req("RUN-1", "RUN-2")


def wire(
    operation: Operation = "chat",
    *,
    unsupported: Unsupported = "refuse",
    cap: int | None = None,
    context: int | None = None,
    overrides: dict[str, Any] | None = None,
    **members: Any,
) -> WireRequest:
    asked = msgspec.json.encode({"model": "m", **ASKED[operation], **members})
    infer = read_request(asked, operation, request_id="req-1", key="", headers={})
    attempt = AttemptContext(
        upstream_model=MODEL,
        api_key="k",
        unsupported=unsupported,
        max_tokens=cap,
        context=context,
        overrides={n: msgspec.Raw(msgspec.json.encode(v)) for n, v in (overrides or {}).items()},
    )
    return OLLAMA.request(infer, attempt)


def body(operation: Operation = "chat", **given: Any) -> dict[str, Any]:
    """The body, which the fake must take."""
    made = wire(operation, **given)
    told = json.loads(made.body)
    refused = complaint(made.path, told, (MODEL,))
    assert refused is None, refused
    return told


def options(**given: Any) -> Any:
    return body(**given).get("options")


def refused(operation: Operation = "chat", **given: Any) -> UnsupportedParameter:
    with pytest.raises(UnsupportedParameter) as raised:
        wire(operation, **given)
    return raised.value


def test_the_least_of_requests_wants_an_error_where_the_prompt_does_not_fit() -> None:
    made = wire()
    assert (made.method, made.path, made.dropped) == ("POST", "/api/chat", ())
    assert json.loads(made.body) == {
        "model": MODEL,
        "messages": HI,
        "stream": True,
        "truncate": False,
        "shift": False,
    }
    assert dict(made.headers) == {
        "content-type": "application/json",
        "accept": "application/x-ndjson",
        "x-request-id": "req-1",
        "authorization": "Bearer k",
    }


@pytest.mark.parametrize(
    "name",
    [n for n, s in SCENARIOS.items() if not s.needs & {"one_call", "tool_choice", "image_urls"}],
)
def test_the_fake_takes_every_scenario(name: str) -> None:
    body(**SCENARIOS[name].asked)


def test_everything_about_sampling_is_an_option() -> None:
    given = {
        "temperature": 1.5,
        "top_p": 0.25,
        "top_k": 40,
        "min_p": 0.1,
        "typical_p": 0.9,
        "seed": 7,
        "presence_penalty": 0.5,
        "frequency_penalty": 0.25,
        "repeat_penalty": 1.1,
        "repeat_last_n": 64,
        "num_keep": 4,
    }
    assert options(**given, stop="END", max_tokens=50) == {
        **given,
        "stop": ["END"],
        "num_predict": 50,
    }


def test_the_lowest_limit_counts_and_the_models_context_is_told() -> None:
    assert options(max_tokens=50, cap=20) == {"num_predict": 20}
    assert options(cap=80, context=32_768) == {"num_predict": 80, "num_ctx": 32_768}
    assert options() is None


def test_a_client_does_not_choose_the_context() -> None:
    assert refused(num_ctx=131_072).param == "num_ctx"
    made = wire(num_ctx=131_072, context=4096, unsupported="drop")
    assert made.dropped == ("num_ctx",)
    assert json.loads(made.body)["options"] == {"num_ctx": 4096}


def test_what_a_policy_overrides_counts() -> None:
    assert options(temperature=1, overrides={"temperature": 0.5}) == {"temperature": 0.5}


@pytest.mark.parametrize(
    ("effort", "think"),
    [
        ("none", False),
        ("minimal", "low"),
        ("low", "low"),
        ("medium", "medium"),
        ("high", "high"),
        ("xhigh", "max"),
        ("max", "max"),
    ],
)
def test_an_effort_is_told_as_how_to_think(effort: str, think: Any) -> None:
    assert body(reasoning_effort=effort)["think"] == think
    assert body(reasoning_effort=effort, think=True)["think"] is True
    assert "think" not in body()


def test_tools_are_declared_with_parameters_unless_none_may_be_called() -> None:
    told = body(tools=TOOLS, tool_choice="auto")["tools"]
    assert [tool["function"]["name"] for tool in told] == ["weather", "clock"]
    assert told[1]["function"]["parameters"] == {"type": "object", "properties": {}}
    assert "tools" not in body(tools=TOOLS, tool_choice="none")


def allowed(mode: str) -> dict[str, Any]:
    named = {"mode": mode, "tools": [{"type": "function", "function": {"name": "clock"}}]}
    return {"type": "allowed_tools", "allowed_tools": named}


def test_of_allowed_tools_only_those_are_declared() -> None:
    (tool,) = body(tools=TOOLS, tool_choice=allowed("auto"))["tools"]
    assert tool["function"]["name"] == "clock"


@pytest.mark.parametrize(
    "choice",
    ["required", {"type": "function", "function": {"name": "clock"}}, allowed("required")],
)
def test_a_call_cannot_be_demanded(choice: Any) -> None:
    assert refused(tools=TOOLS, tool_choice=choice).param == "tool_choice"
    made = wire(tools=TOOLS, tool_choice=choice, unsupported="drop")
    assert made.dropped == ("tool_choice",)
    assert json.loads(made.body)["tools"]


def test_a_strict_tool_cannot_be_promised() -> None:
    tool = {"type": "function", "function": {"name": "f", "strict": True}}
    assert refused(tools=[tool]).param == "tools.strict"
    assert wire(tools=[tool], unsupported="drop").dropped == ("tools.strict",)


def test_a_format_is_json_or_a_schema() -> None:
    schema = {"type": "object", "properties": {"a": {"pattern": "^x"}}}
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    assert body(response_format=wanted)["format"] == schema
    assert body(response_format={"type": "json_object"})["format"] == "json"
    assert "format" not in body(response_format={"type": "text"})


def test_probabilities_are_asked_for() -> None:
    told = body(logprobs=True, top_logprobs=3)
    assert (told["logprobs"], told["top_logprobs"]) == (True, 3)
    assert body(logprobs=True)["logprobs"] is True
    assert body(logprobs=False, top_logprobs=0) == body()


def test_how_long_a_model_stays_is_the_clients_word_or_nobodys() -> None:
    assert body(keep_alive="10m")["keep_alive"] == "10m"
    assert "keep_alive" not in body()


def test_a_completion_is_the_prompt_and_nothing_around_it() -> None:
    made = wire("completion", max_tokens=5, stop=["\n"], temperature=0)
    assert made.path == "/api/generate"
    assert json.loads(made.body) == {
        "model": MODEL,
        "prompt": "Once",
        "stream": True,
        "truncate": False,
        "shift": False,
        "raw": True,
        "options": {"num_predict": 5, "stop": ["\n"], "temperature": 0},
    }
    assert body("completion", prompt=["Once"]) == body("completion")
    told = body("completion", suffix=" end")
    assert (told["suffix"], "raw" in told) == (" end", False)


@pytest.mark.parametrize("prompt", ["", [], ["a", "b"], [1, 2], [[1]]])
def test_a_prompt_is_one_text(prompt: Any) -> None:
    assert refused("completion", prompt=prompt).param == "prompt"


@pytest.mark.parametrize(
    "members", [{"echo": True}, {"best_of": 2}, {"logprobs": 0}, {"logprobs": 3}]
)
def test_a_completion_cannot_do_everything(members: dict[str, Any]) -> None:
    name = next(iter(members))
    assert refused("completion", **members).param == name
    assert wire("completion", unsupported="drop", **members).dropped == (name,)


def test_an_embedding_is_asked_whole() -> None:
    made = wire("embedding", input=["a", "b"], dimensions=2, encoding_format="base64")
    assert made.path == "/api/embed"
    assert json.loads(made.body) == {
        "model": MODEL,
        "input": ["a", "b"],
        "dimensions": 2,
        "truncate": False,
    }
    body("embedding", context=512, keep_alive=60)
    assert refused("embedding", user="me").param == "user"
    with pytest.raises(InvalidField):
        wire("embedding", input=[1, 2])


@pytest.mark.parametrize(
    "members",
    [
        {"user": "me"},
        {"metadata": {"a": "b"}},
        {"logit_bias": {"5": 1}},
        {"parallel_tool_calls": False},
        {"service_tier": "flex"},
        {"store": True},
    ],
)
def test_what_has_no_place_is_refused_or_dropped_by_name(members: dict[str, Any]) -> None:
    name = next(iter(members))
    assert refused(**members).param == name
    assert wire(unsupported="drop", **members).dropped == (name,)


def test_more_than_one_answer_is_always_refused() -> None:
    for choice in ("refuse", "drop"):
        assert refused(n=2, unsupported=choice).param == "n"


def test_what_asks_for_nothing_is_as_if_it_were_not_there() -> None:
    quiet = {
        "n": 1,
        "logit_bias": {},
        "store": False,
        "modalities": ["text"],
        "parallel_tool_calls": True,
        "service_tier": "auto",
        "functions": [],
        "user": None,
    }
    assert body(**quiet) == body()
    assert body("completion", echo=False, best_of=1) == body("completion")


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"tools": [{"type": "custom"}]}, "tools[0].type"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"top_logprobs": "x"}, "top_logprobs"),
    ],
)
def test_what_is_wrong_is_named(members: dict[str, Any], param: str) -> None:
    with pytest.raises(ClientFault) as raised:
        wire(**members)
    assert raised.value.param == param


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-5, 5), st.text(max_size=4)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)
NAMES = ["tools", "tool_choice", "response_format", "stop", "logprobs", "prompt", "messages"]


@given(
    operation=st.sampled_from(["chat", "completion"]),
    members=st.dictionaries(st.sampled_from(NAMES), JSON, max_size=3),
)
def test_nothing_a_client_sends_is_our_bug(operation: Operation, members: dict[str, Any]) -> None:
    with suppress(ClientFault):
        wire(operation, **members)
