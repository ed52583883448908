"""Bodies as vLLM reads them: what is asked for, what depends on what, and every other body an error.

The statuses and words of single refusals are in `test_service`.
"""

import json
from collections.abc import Callable
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.fakellmd.bodies import (
    MAX_CHOICES,
    MAX_TEXTS,
    Generation,
    parse_chat,
    parse_completion,
    parse_embedding,
    parse_tokenize,
    prefill_only,
)
from adapters.fakellmd.failures import ApiError
from adapters.fakellmd.settings import LlmdSettings, ServedModel

pytestmark = pytest.mark.req("INT-9")
T = TypeVar("T")
SETTINGS = LlmdSettings(
    models=(ServedModel(name="m"), ServedModel(name="small")),
    max_model_len=256,
    natural_output_tokens=(4, 12),
)
PARSERS: dict[str, Callable[[bytes, LlmdSettings], object]] = {
    "messages": parse_chat,
    "prompt": parse_completion,
    "input": parse_embedding,
}


def chat(content: object = "hi", **members: object) -> Generation:
    body = {"messages": [{"role": "user", "content": content}], **members}
    return parse_chat(json.dumps(body).encode(), SETTINGS)


def completion(prompt: object, **members: object) -> Generation:
    return parse_completion(json.dumps({"prompt": prompt, **members}).encode(), SETTINGS)


def refused(parse: Callable[..., object], *arguments: object, **members: object) -> ApiError:
    with pytest.raises(ApiError) as caught:
        parse(*arguments, **members)
    return caught.value


def tried(parse: Callable[[], T]) -> T | ApiError:
    """What `parse` returns, or the error that it raises instead."""
    try:
        return parse()
    except ApiError as error:
        return error


def written(asked: Generation) -> list[str]:
    return ["".join(choice.script.pieces) for choice in asked.choices]


# -- what is asked for ----------------------------------------------------------------------


def test_the_first_model_is_meant_where_none_is_named() -> None:
    assert chat().model == "m"
    assert chat(model="").model == "m"
    assert chat(model="small").model == "small"


def test_the_newer_name_of_the_token_limit_wins() -> None:
    asked = chat(max_tokens=9, max_completion_tokens=3, ignore_eos=True)
    assert len(asked.choices[0].script.pieces) == 3


@given(max_tokens=st.integers(1, 200), ignore_eos=st.booleans())
def test_an_answer_is_never_longer_than_asked_for(max_tokens: int, ignore_eos: bool) -> None:
    asked = chat(max_tokens=max_tokens, ignore_eos=ignore_eos)
    tokens = len(asked.choices[0].script.pieces)
    assert tokens == max_tokens if ignore_eos else tokens <= max_tokens


@given(content=st.text(max_size=900))
def test_prompt_and_answer_fit_the_model_together(content: str) -> None:
    asked = tried(lambda: chat(content, ignore_eos=True))
    if isinstance(asked, ApiError):
        assert "maximum context length" in asked.message
        return
    (choice,) = asked.choices
    assert choice.prompt_tokens + len(choice.script.pieces) == SETTINGS.max_model_len


def test_parts_of_a_message_are_its_text() -> None:
    parts = [
        {"type": "text", "text": "he"},
        {"type": "image_url", "image_url": {"url": "x"}},
        {"type": "text", "text": "llo"},
    ]
    assert written(chat(parts, seed=1)) == written(chat("hello", seed=1))


@given(
    prompts=st.lists(st.text(max_size=20), min_size=1, max_size=5),
    n=st.integers(1, 4),
)
def test_each_prompt_has_its_n_choices_and_is_counted_once(prompts: list[str], n: int) -> None:
    asked = completion(prompts, n=n, max_tokens=2)
    assert len(asked.choices) == n * len(prompts)
    assert sum(choice.prompt_tokens for choice in asked.choices) == n * asked.prompt_tokens
    alone = [completion(prompt, n=n, max_tokens=2) for prompt in prompts]
    assert written(asked) == [text for one in alone for text in written(one)]


@given(tokens=st.lists(st.integers(-(2**70), 2**70), min_size=1, max_size=100))
def test_token_ids_count_as_many_as_they_are(tokens: list[int]) -> None:
    assert completion(tokens, max_tokens=1).prompt_tokens == len(tokens)
    assert completion([tokens, tokens], max_tokens=1).prompt_tokens == 2 * len(tokens)


@given(content=st.text(max_size=100))
def test_tokenize_counts_what_a_chat_is_charged_for(content: str) -> None:
    body = json.dumps({"messages": [{"role": "user", "content": content}]}).encode()
    assert len(parse_tokenize(body, SETTINGS)) == parse_chat(body, SETTINGS).prompt_tokens


def test_embeddings_have_the_models_own_dimensions_unless_told() -> None:
    for members, dimensions in (({}, SETTINGS.embedding_dimensions), ({"dimensions": 8}, 8)):
        asked = parse_embedding(json.dumps({"input": ["a", "b"], **members}).encode(), SETTINGS)
        assert (asked.texts, asked.dimensions, asked.base64) == (("a", "b"), dimensions, False)


def test_an_embedding_is_over_when_its_first_token_would_come() -> None:
    assert prefill_only(7).prompt_tokens == 7
    assert len(prefill_only(7).script.pieces) == 1


# -- what the text depends on ---------------------------------------------------------------

TOOL = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}
SAMPLING: dict[str, Any] = {
    "model": st.sampled_from(["m", "small"]),
    "temperature": st.sampled_from([0.5, 1.0]),
    "top_p": st.sampled_from([0.5, 1.0]),
    "seed": st.integers(0, 3),
}


@pytest.mark.req("ENG-4")
@given(members=st.fixed_dictionaries({}, optional=SAMPLING), other=st.data())
def test_the_text_depends_on_prompt_model_and_sampling_and_on_nothing_else(
    members: dict[str, object], other: st.DataObject
) -> None:
    text = written(chat(**members))
    unread = {"stream": True, "priority": 3, "user": "web", "logprobs": True, "metadata": {}}
    beside = other.draw(st.sets(st.sampled_from(sorted(unread))))
    assert written(chat(**members, **{name: unread[name] for name in beside})) == text
    name = other.draw(st.sampled_from(sorted(SAMPLING)))
    value = other.draw(SAMPLING[name])
    defaults = {"model": "m", "seed": 0}
    if members.get(name, defaults.get(name)) != value:
        assert written(chat(**{**members, name: value})) != text
    assert written(chat("another prompt", **members)) != text


def test_choices_differ_unless_the_decoding_is_greedy() -> None:
    assert len(set(written(chat(n=4)))) == 4
    assert len(set(written(chat(n=4, temperature=0)))) == 1
    assert written(chat(temperature=0, seed=1)) == written(chat(temperature=0, seed=2))


@given(max_tokens=st.integers(1, 12))
def test_a_shorter_answer_is_the_beginning_of_the_longer_one(max_tokens: int) -> None:
    (whole,), (part,) = written(chat(seed=1)), written(chat(seed=1, max_tokens=max_tokens))
    assert whole.startswith(part)


@pytest.mark.parametrize(
    ("last", "choice", "called"),
    [
        ({"role": "user", "content": "please look_up the word"}, None, True),
        ({"role": "user", "content": "any tool will do"}, "auto", True),
        ({"role": "user", "content": "hello"}, "auto", False),
        ({"role": "user", "content": "hello"}, "required", True),
        ({"role": "user", "content": "look_up"}, "none", False),
        ({"role": "tool", "content": "look_up: found", "tool_call_id": "1"}, "auto", False),
        ({"role": "user", "content": "hello"}, TOOL, True),
    ],
)
def test_a_tool_is_called_when_it_must_or_when_a_user_speaks_of_it(
    last: dict[str, object], choice: object, called: bool
) -> None:
    body = {"messages": [last], "tools": [TOOL], "tool_choice": choice}
    (answer,) = parse_chat(json.dumps(body).encode(), SETTINGS).choices
    assert (answer.script.tool_name == "look_up") is called


def test_the_tool_that_is_mentioned_is_the_one_that_is_called() -> None:
    other = {"type": "function", "function": {"name": "forget"}}
    (answer,) = chat("forget it", tools=[TOOL, other]).choices
    assert answer.script.tool_name == "forget"


# -- what is refused ------------------------------------------------------------------------


@pytest.mark.req("SEC-5")
def test_choices_are_bounded_over_all_prompts() -> None:
    assert len(completion(["a"] * MAX_CHOICES, max_tokens=1).choices) == MAX_CHOICES
    assert refused(completion, ["a"] * (MAX_CHOICES // 2 + 1), n=2, max_tokens=1).param == "n"


@pytest.mark.req("SEC-5")
def test_texts_to_embed_are_bounded() -> None:
    def embed(count: int) -> object:
        return parse_embedding(json.dumps({"input": ["a"] * count}).encode(), SETTINGS)

    embed(MAX_TEXTS)
    error = refused(embed, MAX_TEXTS + 1)
    assert (error.status, error.param) == (400, "input")


@pytest.mark.parametrize("wrong", [[], ["a", 1], [1, "a"], [[1], 2]])
@pytest.mark.parametrize("member", ["prompt", "input"])
def test_wrong_texts_are_told_by_the_member_they_came_in(member: str, wrong: object) -> None:
    body = json.dumps({member: wrong}).encode()
    assert refused(PARSERS[member], body, SETTINGS).param == member


def test_a_missing_member_is_told_by_its_path() -> None:
    assert refused(parse_chat, b"{}", SETTINGS).param == "body.messages"
    error = refused(parse_chat, b'{"messages":[{"role":"user"},{}]}', SETTINGS)
    assert error.param == "body.messages.1.role"
    assert refused(parse_tokenize, b"{}", SETTINGS).param == "prompt"


def test_broken_json_is_told_by_its_byte() -> None:
    assert refused(parse_completion, b'{"prompt" "hi"}', SETTINGS).param == "body.10"


NAMES = st.sampled_from(
    [
        *("messages", "prompt", "input", "model", "role", "content", "type", "text", "n", "seed"),
        *("max_tokens", "min_tokens", "temperature", "top_p", "stop", "stream", "stream_options"),
        *("tools", "function", "name", "parameters", "tool_choice", "response_format", "priority"),
        *("json_schema", "schema", "enum", "const", "minimum", "properties", "dimensions"),
    ]
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"), max_size=8)
    | st.sampled_from(["user", "required", "auto", "json_schema", "m", "look_up"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=8,
)
GOOD = {"messages": [{"role": "user", "content": "hi"}], "prompt": "hi", "input": "hi"}


@pytest.mark.parametrize("member", PARSERS)
@given(members=st.dictionaries(NAMES, VALUES, max_size=5), keep=st.booleans())
def test_any_json_is_a_request_or_an_error_that_can_be_sent(
    member: str, members: dict[str, object], keep: bool
) -> None:
    body = {**members, member: GOOD[member]} if keep else members
    asked = tried(lambda: PARSERS[member](json.dumps(body).encode(), SETTINGS))
    if isinstance(asked, ApiError):
        assert asked.status in (400, 404)
        asked.encode()
    if isinstance(asked, Generation):
        assert 1 <= len(asked.choices) <= MAX_CHOICES
        assert all(choice.script.pieces for choice in asked.choices)


@pytest.mark.parametrize("member", PARSERS)
@given(body=st.binary(max_size=30))
def test_any_bytes_are_a_request_or_an_error_that_can_be_sent(member: str, body: bytes) -> None:
    asked = tried(lambda: PARSERS[member](body, SETTINGS))
    if isinstance(asked, ApiError):
        asked.encode()
