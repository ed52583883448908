"""A chat becomes what Gemini takes: checked against the fake's rules, which are not the dialect's."""

import json
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.dialect import AttemptContext, WireRequest
from adapters.gemini import GeminiDialect
from contracts.config import Unsupported
from contracts.errors import ClientFault, InvalidField, UnsupportedParameter
from gateway.intake import read_request
from tests.adapters.conformance.scenarios import SCENARIOS, TOOLS
from tests.fakes.gemini_rules import complaint

GEMINI = GeminiDialect()
NEWEST, BY_BUDGET, OLD = "gemini-3-flash", "gemini-2.5-flash", "gemini-2.0-flash"
HI = [{"role": "user", "content": "Hi"}]

pytestmark = pytest.mark.req("RUN-1", "RUN-2")


def wire(
    *,
    model: str = NEWEST,
    unsupported: Unsupported = "refuse",
    cap: int | None = None,
    overrides: dict[str, Any] | None = None,
    **members: Any,
) -> WireRequest:
    asked = {"model": "m", "messages": HI, **members}
    infer = read_request(msgspec.json.encode(asked), "chat", request_id="req-1", key="", headers={})
    attempt = AttemptContext(
        upstream_model=model,
        api_key="k",
        unsupported=unsupported,
        max_tokens=cap,
        overrides={n: msgspec.Raw(msgspec.json.encode(v)) for n, v in (overrides or {}).items()},
    )
    return GEMINI.request(infer, attempt)


def body(**given: Any) -> dict[str, Any]:
    """The body, which the fake must take."""
    made = wire(**given)
    told = json.loads(made.body)
    model = made.path.removeprefix("/v1/").partition(":")[0]
    assert complaint(dict(made.headers), model, told) is None
    return told


def config(**given: Any) -> Any:
    return body(**given).get("generationConfig")


def refused(**given: Any) -> UnsupportedParameter:
    with pytest.raises(UnsupportedParameter) as raised:
        wire(**given)
    return raised.value


def test_the_least_of_requests() -> None:
    made = wire()
    assert (made.method, made.dropped) == ("POST", ())
    assert made.path == "/v1/models/gemini-3-flash:streamGenerateContent?alt=sse"
    assert json.loads(made.body) == {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}
    assert dict(made.headers) == {
        "content-type": "application/json",
        "accept": "text/event-stream",
        "x-request-id": "req-1",
        "x-goog-api-key": "k",
    }


@pytest.mark.parametrize("model", [NEWEST, BY_BUDGET])
@pytest.mark.parametrize("name", [n for n, s in SCENARIOS.items() if "one_call" not in s.needs])
def test_the_fake_takes_every_scenario(name: str, model: str) -> None:
    body(model=model, **SCENARIOS[name].asked)


def test_everything_about_sampling_has_its_place() -> None:
    assert config(
        temperature=1.5,
        top_p=0.25,
        top_k=40,
        presence_penalty=-0.5,
        frequency_penalty=0.5,
        seed=-7,
        n=2,
        stop=["a", "b"],
        max_tokens=50,
        max_completion_tokens=40,
        logprobs=True,
        top_logprobs=2,
    ) == {
        "temperature": 1.5,
        "topP": 0.25,
        "topK": 40,
        "presencePenalty": -0.5,
        "frequencyPenalty": 0.5,
        "seed": -7,
        "candidateCount": 2,
        "stopSequences": ["a", "b"],
        "maxOutputTokens": 40,
        "responseLogprobs": True,
        "logprobs": 2,
    }


def test_the_lowest_limit_counts() -> None:
    assert config(max_tokens=50, cap=20) == {"maxOutputTokens": 20}
    assert config(max_tokens=50, cap=80) == {"maxOutputTokens": 50}
    assert config(cap=80) == {"maxOutputTokens": 80}
    assert config() is None


def test_what_a_policy_overrides_counts() -> None:
    assert config(temperature=1, overrides={"temperature": 0.5}) == {"temperature": 0.5}


def test_a_seed_beyond_32_bits_is_refused() -> None:
    assert config(seed=2**31 - 1) == {"seed": 2**31 - 1}
    assert refused(seed=2**31).param == "seed"
    assert wire(seed=2**31, unsupported="drop").dropped == ("seed",)


@pytest.mark.parametrize(
    ("choice", "told"),
    [
        (None, {"mode": "AUTO"}),
        ("none", {"mode": "NONE"}),
        ("required", {"mode": "ANY"}),
        (
            {"type": "function", "function": {"name": "clock"}},
            {"mode": "ANY", "allowedFunctionNames": ["clock"]},
        ),
        (
            {
                "type": "allowed_tools",
                "allowed_tools": {
                    "mode": "required",
                    "tools": [{"type": "function", "function": {"name": "clock"}}],
                },
            },
            {"mode": "ANY", "allowedFunctionNames": ["clock"]},
        ),
    ],
)
def test_each_choice_of_tools_has_its_mode(choice: Any, told: Any) -> None:
    made = body(tools=TOOLS, tool_choice=choice)
    assert made["toolConfig"] == {"functionCallingConfig": told}
    assert len(made["tools"][0]["functionDeclarations"]) == 2


def test_of_allowed_tools_only_those_are_declared() -> None:
    allowed = {"mode": "auto", "tools": [{"type": "function", "function": {"name": "clock"}}]}
    made = body(tools=TOOLS, tool_choice={"type": "allowed_tools", "allowed_tools": allowed})
    assert made["tools"] == [
        {"functionDeclarations": [{"name": "clock", "description": "tells it"}]}
    ]
    assert made["toolConfig"] == {"functionCallingConfig": {"mode": "AUTO"}}


def function(**parameters: Any) -> dict[str, Any]:
    strict = parameters.pop("strict", None)
    schema = {"type": "object", **parameters}
    return {"type": "function", "function": {"name": "f", "strict": strict, "parameters": schema}}


PATTERN = {"a": {"type": "string", "pattern": "^x"}}


def test_a_tool_that_promises_nothing_is_told_with_hints() -> None:
    made = body(tools=[function(properties=PATTERN)])
    (declared,) = made["tools"][0]["functionDeclarations"]
    assert declared["parametersJsonSchema"]["properties"] == {
        "a": {"type": "string", "description": '(pattern: "^x")'}
    }


def test_a_strict_tool_is_held_to_its_schema_or_refused() -> None:
    made = body(tools=[function(strict=True, properties={"a": {"type": "string"}})])
    assert made["toolConfig"] == {"functionCallingConfig": {"mode": "VALIDATED"}}
    assert refused(tools=[function(strict=True, properties=PATTERN)]).param == "tools.pattern"
    made_anyway = wire(tools=[function(strict=True, properties=PATTERN)], unsupported="drop")
    assert made_anyway.dropped == ("tools.pattern",)


def test_an_answers_schema_is_enforced_or_refused() -> None:
    def wanted(schema: dict[str, Any]) -> dict[str, Any]:
        return {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}

    assert config(response_format=wanted({"type": "object"})) == {
        "responseMimeType": "application/json",
        "responseJsonSchema": {"type": "object"},
    }
    assert refused(response_format=wanted({"minLength": 1})).param == "response_format.minLength"
    assert config(response_format={"type": "json_object"}) == {
        "responseMimeType": "application/json"
    }
    assert config(response_format={"type": "text"}) is None


@pytest.mark.parametrize(
    ("model", "effort", "told"),
    [
        (NEWEST, "low", {"thinkingLevel": "LOW", "includeThoughts": True}),
        (BY_BUDGET, "medium", {"thinkingBudget": 8192, "includeThoughts": True}),
        (BY_BUDGET, "none", {"thinkingBudget": 0}),
    ],
)
def test_an_effort_is_told_in_the_models_words(model: str, effort: str, told: Any) -> None:
    assert config(model=model, reasoning_effort=effort) == {"thinkingConfig": told}


def test_an_effort_that_the_model_cannot_make_is_refused() -> None:
    assert config(model=OLD, reasoning_effort="none") is None
    for model, effort in ((NEWEST, "none"), (OLD, "low")):
        assert refused(model=model, reasoning_effort=effort).param == "reasoning_effort"
        made = wire(model=model, reasoning_effort=effort, unsupported="drop")
        assert made.dropped == ("reasoning_effort",)


def test_what_is_googles_own_is_passed_on() -> None:
    safety = [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}]
    thinking = {"thinking_level": "HIGH"}
    made = body(
        safety_settings=safety,
        cached_content="cachedContents/x",
        thinking_config=thinking,
        reasoning_effort="low",
    )
    assert (made["safetySettings"], made["cachedContent"]) == (safety, "cachedContents/x")
    assert made["generationConfig"] == {"thinkingConfig": thinking}


@pytest.mark.parametrize(
    ("tier", "told"),
    [("auto", None), ("default", "standard"), ("flex", "flex"), ("priority", "priority")],
)
def test_a_service_tier_has_another_name(tier: str, told: str | None) -> None:
    assert body(service_tier=tier).get("serviceTier") == told


@pytest.mark.parametrize(
    "members",
    [
        {"service_tier": "scale"},
        {"user": "me"},
        {"metadata": {"a": "b"}},
        {"logit_bias": {"5": 1}},
        {"parallel_tool_calls": False, "tools": TOOLS},
        {"modalities": ["text", "audio"]},
        {"store": True},
    ],
)
def test_what_has_no_place_is_refused_or_dropped_by_name(members: dict[str, Any]) -> None:
    name = next(iter(members))
    assert refused(**members).param == name
    assert wire(unsupported="drop", **members).dropped == (name,)


def test_what_asks_for_nothing_is_as_if_it_were_not_there() -> None:
    quiet = {
        "n": 1,
        "logit_bias": {},
        "logprobs": False,
        "top_logprobs": 0,
        "store": False,
        "modalities": ["text"],
        "parallel_tool_calls": True,
        "functions": [],
        "user": None,
    }
    assert body(**quiet) == body()


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"tools": [{"type": "custom"}]}, "tools[0].type"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"seed": "x"}, "seed"),
        ({"top_logprobs": "x"}, "top_logprobs"),
    ],
)
def test_what_is_wrong_is_named(members: dict[str, Any], param: str) -> None:
    with pytest.raises(ClientFault) as raised:
        wire(**members)
    assert raised.value.param == param


def test_a_schema_that_is_none_is_wrong() -> None:
    with pytest.raises(InvalidField) as raised:
        wire(tools=[{"type": "function", "function": {"name": "f", "parameters": "x"}}])
    assert raised.value.param == "tools[0].function.parameters"


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-5, 5), st.text(max_size=4)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)
NAMES = [
    "tools",
    "tool_choice",
    "response_format",
    "stop",
    "seed",
    "logprobs",
    "service_tier",
    "user",
]


@given(members=st.dictionaries(st.sampled_from(NAMES), JSON, max_size=3))
def test_nothing_a_client_sends_is_our_bug(members: dict[str, Any]) -> None:
    with suppress(ClientFault):
        wire(**members)
