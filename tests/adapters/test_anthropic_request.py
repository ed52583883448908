"""A chat becomes what Anthropic takes: checked against the fake's rules, which are not the dialect's."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.anthropic import AnthropicDialect
from adapters.anthropic_request import MAX_TOKENS, MAX_TOKENS_OF_OLD
from adapters.dialect import AttemptContext, WireRequest
from contracts.config import Unsupported
from contracts.errors import ClientFault, InvalidField, UnsupportedParameter
from gateway.intake import read_request
from tests.adapters.conformance.asked import MEMBERS
from tests.adapters.conformance.scenarios import SCENARIOS, TOOLS
from tests.fakes.anthropic_rules import complaint

ANTHROPIC = AnthropicDialect()
NEWEST, BY_BUDGET, OLD = "claude-opus-4-8", "claude-sonnet-4-5", "claude-3-5-haiku-latest"
HI = [{"role": "user", "content": "Hi"}]
UNTHOUGHT = [
    *HI,
    {"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "f"}}]},
    {"role": "tool", "tool_call_id": "a", "content": "ok"},
]
"""A call whose thinking was not sent back."""

pytestmark = pytest.mark.req("RUN-1", "RUN-2")


def wire(
    *,
    model: str = NEWEST,
    unsupported: Unsupported = "refuse",
    cap: int | None = None,
    context: int | None = None,
    overrides: dict[str, Any] | None = None,
    **members: Any,
) -> WireRequest:
    asked = {"model": "m", "messages": HI, **members}
    infer = read_request(msgspec.json.encode(asked), "chat", request_id="req-1", key="", headers={})
    attempt = AttemptContext(
        upstream_model=model,
        api_key="sk-ant",
        unsupported=unsupported,
        max_tokens=cap,
        context=context,
        overrides={n: msgspec.Raw(msgspec.json.encode(v)) for n, v in (overrides or {}).items()},
    )
    return ANTHROPIC.request(infer, attempt)


def body(**given: Any) -> dict[str, Any]:
    """The body, which the fake must take."""
    made = wire(**given)
    told = json.loads(made.body)
    assert complaint(dict(made.headers), told) is None
    return told


def refused(**given: Any) -> UnsupportedParameter:
    with pytest.raises(UnsupportedParameter) as raised:
        wire(**given)
    return raised.value


# -- the whole ------------------------------------------------------------------------------


def test_the_least_of_requests() -> None:
    made = wire()
    assert (made.method, made.path, made.dropped) == ("POST", "/v1/messages", ())
    assert json.loads(made.body) == {
        "model": NEWEST,
        "stream": True,
        "max_tokens": MAX_TOKENS,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}],
    }
    assert dict(made.headers) == {
        "content-type": "application/json",
        "accept": "text/event-stream",
        "x-request-id": "req-1",
        "anthropic-version": "2023-06-01",
        "x-api-key": "sk-ant",
    }


@pytest.mark.parametrize("name", SCENARIOS)
@pytest.mark.parametrize("model", [NEWEST, BY_BUDGET])
def test_anthropic_takes_what_every_scenario_becomes(name: str, model: str) -> None:
    body(model=model, **SCENARIOS[name].asked)


@given(
    members=MEMBERS,
    model=st.sampled_from([NEWEST, BY_BUDGET, OLD]),
    unsupported=st.sampled_from(["refuse", "drop"]),
)
def test_any_chat_is_taken_by_anthropic_or_refused_here_by_name(
    members: dict[str, Any], model: str, unsupported: Unsupported
) -> None:
    try:
        made = wire(model=model, unsupported=unsupported, **members)
    except ClientFault as fault:
        named = fault.param or "nothing"
    else:
        named = None
    if named is not None:
        assert named.partition("[")[0].partition(".")[0] in members
        return
    assert complaint(dict(made.headers), json.loads(made.body)) is None
    assert unsupported == "drop" or made.dropped == ()
    assert set(made.dropped) <= set(members)


# -- limits -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "cap", "context", "model", "limit"),
    [
        ({}, None, None, NEWEST, MAX_TOKENS),
        ({}, None, None, OLD, MAX_TOKENS_OF_OLD),
        ({}, None, 4096, NEWEST, 2048),
        ({}, 7, None, NEWEST, 7),
        ({"max_tokens": 9}, None, None, NEWEST, 9),
        ({"max_tokens": 9}, 7, None, NEWEST, 7),
        ({"max_tokens": 5}, 7, None, NEWEST, 5),
        ({"max_completion_tokens": 5, "max_tokens": 9}, None, None, NEWEST, 5),
        ({"max_tokens": 90_000}, None, None, NEWEST, 90_000),
    ],
)
def test_there_is_always_a_limit_and_never_above_what_was_asked(
    asked: dict[str, int], cap: int | None, context: int | None, model: str, limit: int
) -> None:
    made = wire(model=model, context=context, cap=cap, **asked)
    assert json.loads(made.body)["max_tokens"] == limit


def test_what_a_policy_overrides_counts_like_the_clients_own() -> None:
    told = body(temperature=0.9, overrides={"temperature": 0.1, "reasoning_effort": "none"})
    assert told["temperature"] == 0.1
    assert told["thinking"] == {"type": "disabled"}
    assert body(overrides={"model": "x", "stream": False, "n": 5})["model"] == NEWEST


def test_numbers_and_schemas_keep_their_spelling() -> None:
    raw = (
        b'{"model":"m","messages":[{"role":"user","content":"Hi"}],"temperature":0.50,'
        b'"tools":[{"type":"function","function":{"name":"f","parameters":'
        b'{"type":"object","properties":{"x":{"maximum":1e2}}}}}]}'
    )
    infer = read_request(raw, "chat", request_id="r", key="", headers={})
    made = ANTHROPIC.request(infer, AttemptContext(upstream_model=NEWEST))
    assert b'"temperature":0.50' in made.body
    assert b'{"x":{"maximum":1e2}}' in made.body


# -- tools ------------------------------------------------------------------------------------


def named(*names: str) -> dict[str, Any]:
    listed = [{"type": "function", "function": {"name": name}} for name in names]
    return {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": listed}}


@pytest.mark.parametrize(
    ("choice", "parallel", "told"),
    [
        (None, None, {"type": "auto"}),
        ("auto", False, {"type": "auto", "disable_parallel_tool_use": True}),
        ("none", False, {"type": "none"}),
        ("required", None, {"type": "any"}),
        ("required", False, {"type": "any", "disable_parallel_tool_use": True}),
        (
            {"type": "function", "function": {"name": "clock"}},
            True,
            {"type": "tool", "name": "clock"},
        ),
        (named("clock"), None, {"type": "any"}),
    ],
)
def test_each_tool_choice_has_its_own_word(
    choice: Any, parallel: bool | None, told: dict[str, Any]
) -> None:
    made = body(tools=TOOLS, tool_choice=choice, parallel_tool_calls=parallel)
    assert made["tool_choice"] == told


def test_allowed_tools_are_those_that_are_declared() -> None:
    made = body(tools=TOOLS, tool_choice=named("clock"))
    assert [tool["name"] for tool in made["tools"]] == ["clock"]


@pytest.mark.parametrize("choice", [None, "auto", "none"])
def test_without_tools_nothing_is_said_of_them(choice: str | None) -> None:
    made = body(tool_choice=choice, tools=[], parallel_tool_calls=False)
    assert not {"tools", "tool_choice"} & set(made)


def test_a_strict_tool_and_a_cached_one_say_so() -> None:
    strict = {
        "type": "function",
        "function": {"name": "f", "strict": True},
        "cache_control": {"type": "ephemeral"},
    }
    assert body(tools=[strict])["tools"] == [
        {
            "name": "f",
            "input_schema": {"type": "object", "properties": {}},
            "strict": True,
            "cache_control": {"type": "ephemeral"},
        }
    ]


@pytest.mark.parametrize("unsupported", ["refuse", "drop"])
def test_a_tool_that_is_no_function_is_always_refused(unsupported: Unsupported) -> None:
    custom = {"type": "custom", "custom": {"name": "grep"}}
    error = refused(tools=[*TOOLS, custom], unsupported=unsupported)
    assert error.param == "tools[2].type"


@pytest.mark.parametrize("choice", ["any", {"type": "function", "function": {"name": "nope"}}, {}])
def test_a_wrong_tool_choice_is_the_clients_fault(choice: Any) -> None:
    with pytest.raises(InvalidField) as raised:
        wire(tools=TOOLS, tool_choice=choice)
    assert raised.value.param == "tool_choice"


# -- what it cannot do ------------------------------------------------------------------------


@pytest.mark.parametrize("unsupported", ["refuse", "drop"])
def test_more_than_one_answer_is_always_refused(unsupported: Unsupported) -> None:
    assert refused(n=2, unsupported=unsupported).param == "n"


@pytest.mark.parametrize(
    ("members", "names"),
    [
        ({"temperature": 1.2}, {"temperature"}),
        ({"stop": ["\n\n", "END"]}, {"stop"}),
        ({"response_format": {"type": "json_object"}}, {"response_format"}),
        ({"service_tier": "flex"}, {"service_tier"}),
        ({"metadata": {"user_id": "u", "team": "x"}}, {"metadata"}),
        ({"reasoning_effort": "low", "temperature": 0.2}, {"temperature"}),
        ({"reasoning_effort": "low", "top_k": 5}, {"top_k"}),
        ({"seed": 7, "logprobs": True}, {"seed", "logprobs"}),
        ({"modalities": ["text", "audio"]}, {"modalities"}),
        ({"messages": [{"role": "user", "name": "Ada", "content": "Hi"}]}, {"messages.name"}),
    ],
)
def test_a_parameter_it_cannot_do_is_refused_or_dropped_by_name(
    members: dict[str, Any], names: set[str]
) -> None:
    assert refused(**members).param in names
    made = wire(unsupported="drop", **members)
    assert set(made.dropped) == names
    assert complaint(dict(made.headers), json.loads(made.body)) is None


def test_of_the_stop_sequences_those_it_knows_are_kept() -> None:
    made = wire(unsupported="drop", stop=["\n\n", "END"])
    assert json.loads(made.body)["stop_sequences"] == ["END"]


@pytest.mark.parametrize(
    "members",
    [
        {"presence_penalty": 0, "frequency_penalty": 0.0, "logit_bias": {}, "logprobs": False},
        {"n": 1, "store": False, "modalities": ["text"], "service_tier": "auto"},
        {"seed": None, "top_logprobs": 0, "metadata": {}, "functions": []},
        {"stream": True, "stream_options": {"include_usage": True}},
    ],
)
def test_what_asks_for_nothing_is_neither_refused_nor_sent(members: dict[str, Any]) -> None:
    assert body(**members) == body()


def test_anthropics_own_parameters_travel_on() -> None:
    own = {
        "top_k": 5,
        "thinking": {"type": "enabled", "budget_tokens": 2048},
        "cache_control": {"type": "ephemeral"},
    }
    sent = json.loads(wire(**own).body)
    assert own.items() <= sent.items()


# -- who, and how -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("members", "metadata"),
    [
        ({"user": "u-1"}, {"user_id": "u-1"}),
        ({"user": "u-1", "safety_identifier": "s-1"}, {"user_id": "s-1"}),
        ({"metadata": {"user_id": "m-1"}}, {"user_id": "m-1"}),
        ({"user": ""}, None),
    ],
)
def test_the_end_user_is_told(members: dict[str, Any], metadata: dict[str, str] | None) -> None:
    assert body(**members).get("metadata") == metadata


@pytest.mark.parametrize(
    ("model", "effort", "limit", "told"),
    [
        (NEWEST, "high", 99, ({"type": "adaptive", "display": "summarized"}, "high")),
        (NEWEST, "minimal", 99, ({"type": "adaptive", "display": "summarized"}, "low")),
        (NEWEST, "none", 99, ({"type": "disabled"}, None)),
        (BY_BUDGET, "low", 9000, ({"type": "enabled", "budget_tokens": 2048}, None)),
        (BY_BUDGET, "high", 9000, ({"type": "enabled", "budget_tokens": 4500}, None)),
        (BY_BUDGET, "none", 9000, ({"type": "disabled"}, None)),
    ],
)
def test_an_effort_is_told_as_the_models_generation_wants_it(
    model: str, effort: str, limit: int, told: tuple[dict[str, Any], str | None]
) -> None:
    made = json.loads(wire(model=model, reasoning_effort=effort, max_completion_tokens=limit).body)
    assert (made["thinking"], made.get("output_config", {}).get("effort")) == told


@pytest.mark.parametrize(
    ("model", "members"),
    [
        (OLD, {}),
        (BY_BUDGET, {"max_completion_tokens": 2047}),
        (BY_BUDGET, {"messages": UNTHOUGHT}),
        (BY_BUDGET, {"tools": TOOLS, "tool_choice": "required"}),
    ],
)
def test_where_a_model_cannot_reason_the_effort_is_refused(
    model: str, members: dict[str, Any]
) -> None:
    assert refused(model=model, reasoning_effort="low", **members).param == "reasoning_effort"
    made = wire(model=model, reasoning_effort="low", unsupported="drop", **members)
    assert made.dropped == ("reasoning_effort",)
    assert "thinking" not in json.loads(made.body)


def test_a_demanded_call_leaves_the_effort_and_no_thinking() -> None:
    made = body(reasoning_effort="high", tools=TOOLS, tool_choice="required")
    assert made["output_config"] == {"effort": "high"}
    assert "thinking" not in made


def test_an_effort_and_a_schema_stand_side_by_side() -> None:
    schema = {"type": "object", "properties": {}}
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    made = body(reasoning_effort="low", response_format=wanted)
    assert made["output_config"] == {
        "effort": "low",
        "format": {"type": "json_schema", "schema": schema},
    }


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"reasoning_effort": "much"}, "reasoning_effort"),
        ({"response_format": {"type": "yaml"}}, "response_format"),
        ({"response_format": {"type": "json_schema"}}, "response_format"),
        ({"parallel_tool_calls": "yes"}, "parallel_tool_calls"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools"),
        ({"service_tier": 5}, "service_tier"),
        ({"messages": [{"role": "system", "content": "alone"}]}, "messages"),
    ],
)
def test_what_is_wrong_is_told_with_its_name(members: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidField) as raised:
        wire(**members)
    assert raised.value.param == param
    assert param in raised.value.message
