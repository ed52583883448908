"""What is checked of a request, with OpenAI's bounds; and how little that is."""

from typing import Any, get_args, get_type_hints

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import completion_create_params, embedding_create_params
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionStreamOptionsParam
from openai.types.chat import completion_create_params as chat_params

from contracts.openai_api import (
    ChatRequest,
    CompletionRequest,
    EmbeddingRequest,
    Message,
    Role,
    StreamOptions,
)

pytestmark = pytest.mark.req("INT-3", "RUN-6")
REQUESTS: dict[type[msgspec.Struct], dict[str, Any]] = {
    ChatRequest: {"model": "m", "messages": [{"role": "user", "content": "hi"}]},
    CompletionRequest: {"model": "m", "prompt": "hi"},
    EmbeddingRequest: {"model": "m", "input": "hi"},
}


def decode(kind: type[msgspec.Struct], /, **members: object) -> Any:
    return msgspec.json.decode(msgspec.json.encode(REQUESTS[kind] | members), type=kind)


def refusal(kind: type[msgspec.Struct], **members: object) -> str:
    with pytest.raises(msgspec.ValidationError) as caught:
        decode(kind, **members)
    return str(caught.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.parametrize("kind", REQUESTS)
@given(data=st.data())
def test_what_is_not_named_here_is_never_a_reason_to_refuse(
    kind: type[msgspec.Struct], data: st.DataObject
) -> None:
    names = {field.encode_name for field in msgspec.structs.fields(kind)}
    other = data.draw(st.dictionaries(st.text().filter(lambda name: name not in names), JSON))
    assert decode(kind, **other) == decode(kind)


@pytest.mark.parametrize("kind", REQUESTS)
def test_what_a_client_may_leave_out_it_may_send_as_null(kind: type[msgspec.Struct]) -> None:
    optional = [f.encode_name for f in msgspec.structs.fields(kind) if not f.required]
    assert optional
    assert decode(kind, **dict.fromkeys(optional)) == decode(kind)


@pytest.mark.parametrize(
    ("member", "least", "most", "step"),
    [
        ("temperature", 0, 2, 0.001),
        ("top_p", 0, 1, 0.001),
        ("presence_penalty", -2, 2, 0.001),
        ("frequency_penalty", -2, 2, 0.001),
        ("n", 1, 128, 1),
        ("max_tokens", 1, 2**31, 1),
    ],
)
@pytest.mark.parametrize("kind", [ChatRequest, CompletionRequest])
def test_a_bound_is_within_and_what_is_beyond_is_named(
    kind: type[msgspec.Struct], member: str, least: int, most: int, step: float
) -> None:
    for value in (least, most):
        assert getattr(decode(kind, **{member: value}), member) == value
    for beyond in (least - step, most + step):
        assert f"`$.{member}`" in refusal(kind, **{member: beyond})


@pytest.mark.parametrize(
    ("kind", "members", "place"),
    [
        (ChatRequest, {"model": ""}, "$.model"),
        (ChatRequest, {"model": "m" * 257}, "$.model"),
        (ChatRequest, {"messages": []}, "$.messages"),
        (ChatRequest, {"messages": [{"role": "robot"}]}, "$.messages[0].role"),
        (ChatRequest, {"messages": [{"role": "user", "content": 1}]}, "$.messages[0].content"),
        (ChatRequest, {"max_completion_tokens": 0}, "$.max_completion_tokens"),
        (ChatRequest, {"tools": ["f"]}, "$.tools[0]"),
        (ChatRequest, {"stream": "true"}, "$.stream"),
        (ChatRequest, {"stop": [1]}, "$.stop[0]"),
        (CompletionRequest, {"prompt": {}}, "$.prompt"),
        (EmbeddingRequest, {"dimensions": 0}, "$.dimensions"),
        (EmbeddingRequest, {"encoding_format": "int8"}, "$.encoding_format"),
    ],
)
def test_a_wrong_member_is_named_by_its_path(
    kind: type[msgspec.Struct], members: dict[str, object], place: str
) -> None:
    assert f"at `{place}`" in refusal(kind, **members)


def test_each_prompt_that_openai_reads_is_read() -> None:
    for prompt in ("hi", ["hi", "there"], [1, 2], [[1, 2], [3]]):
        assert decode(CompletionRequest, prompt=prompt).prompt == prompt
        assert decode(EmbeddingRequest, input=prompt).input == prompt


# -- against OpenAI's own SDK ---------------------------------------------------------------


def test_every_role_that_the_sdk_can_send_is_known() -> None:
    theirs = {
        role
        for message in get_args(ChatCompletionMessageParam)
        for role in get_args(get_args(get_type_hints(message, include_extras=True)["role"])[0])
    }
    assert theirs == set(get_args(Role))


@pytest.mark.parametrize(
    ("kind", "theirs"),
    [
        (ChatRequest, chat_params.CompletionCreateParamsBase),
        (CompletionRequest, completion_create_params.CompletionCreateParamsBase),
        (EmbeddingRequest, embedding_create_params.EmbeddingCreateParams),
        (StreamOptions, ChatCompletionStreamOptionsParam),
    ],
)
def test_every_member_named_here_is_one_of_openais(kind: type[msgspec.Struct], theirs: Any) -> None:
    mine = {field.encode_name for field in msgspec.structs.fields(kind)} - {"stream"}
    assert mine <= set(theirs.__annotations__)


def test_a_message_may_come_without_content() -> None:
    """An assistant's turn that only called tools."""
    called = {"role": "assistant", "tool_calls": [{"id": "1"}]}
    assert decode(ChatRequest, messages=[called]).messages == [Message("assistant")]
