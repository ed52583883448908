"""The official SDK accepts what the fake says: so the fake speaks as Anthropic does."""

import json
from collections.abc import AsyncIterator
from typing import Any

import anthropic
import pytest
from anthropic.types import Message

from contracts.events import Usage
from tests.fakes import anthropic_words
from tests.fakes.answers import Answer, Call, Refusal
from tests.fakes.anthropic import FakeAnthropic

pytestmark = pytest.mark.req("RUN-2")
EVERYTHING = Answer(
    reasoning=("Hmm, ", "京都."),
    text=("It ", "is ", "👩\u200d👧."),
    calls=(
        Call("toolu_1", "weather", ('{"city": ', '"Zürich"}')),
        Call("toolu_2", "clock", ("{}",)),
    ),
    finish="tool_calls",
    usage=Usage(prompt_tokens=40, completion_tokens=12, cached_tokens=30, reasoning_tokens=5),
)
ASKED: dict[str, Any] = {
    "model": "claude-opus-4-8",
    "max_tokens": 64,
    "messages": [{"role": "user", "content": "Hi"}],
}
ERRORS = [
    ("invalid_request_error", anthropic.BadRequestError),
    ("authentication_error", anthropic.AuthenticationError),
    ("permission_error", anthropic.PermissionDeniedError),
    ("not_found_error", anthropic.NotFoundError),
    ("rate_limit_error", anthropic.RateLimitError),
    ("api_error", anthropic.InternalServerError),
    ("overloaded_error", anthropic.OverloadedError),
]


@pytest.fixture
async def fake() -> AsyncIterator[FakeAnthropic]:
    async with FakeAnthropic(EVERYTHING, cut=7) as fake:
        yield fake


@pytest.fixture
async def client(fake: FakeAnthropic) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with anthropic.AsyncAnthropic(
        base_url=fake.url, api_key="sk-fake", max_retries=0
    ) as client:
        yield client


def as_said(message: Message) -> None:
    """`message` is all of EVERYTHING."""
    thinking, text, first, second = message.content
    assert (thinking.type, text.type, first.type, second.type) == (
        "thinking",
        "text",
        "tool_use",
        "tool_use",
    )
    assert thinking.thinking == "Hmm, 京都."
    assert thinking.signature == anthropic_words.SIGNATURE
    assert text.text == "It is 👩\u200d👧."
    assert (first.id, first.name, first.input) == ("toolu_1", "weather", {"city": "Zürich"})
    assert (second.id, second.name, second.input) == ("toolu_2", "clock", {})
    assert message.stop_reason == "tool_use"
    usage = message.usage
    assert (usage.input_tokens, usage.cache_read_input_tokens) == (10, 30)
    assert usage.output_tokens == 12
    assert usage.output_tokens_details is not None
    assert usage.output_tokens_details.thinking_tokens == 5
    Message.model_validate(message.model_dump(), strict=True)


async def test_the_sdk_reads_a_stream(client: anthropic.AsyncAnthropic) -> None:
    async with client.messages.stream(**ASKED) as stream:
        events = [event.type async for event in stream]
        as_said(await stream.get_final_message())
    assert events[0] == "message_start"
    assert events[-1] == "message_stop"


async def test_the_sdk_reads_a_whole_message(client: anthropic.AsyncAnthropic) -> None:
    as_said(await client.messages.create(**ASKED))


@pytest.mark.parametrize(
    ("answer", "reason", "sequence"),
    [
        (Answer(text=("a",)), "end_turn", None),
        (Answer(text=("a",), stop_sequence="END"), "stop_sequence", "END"),
        (Answer(text=("a",), finish="length"), "max_tokens", None),
        (Answer(), "end_turn", None),
    ],
)
async def test_the_sdk_knows_why_it_stopped(
    fake: FakeAnthropic,
    client: anthropic.AsyncAnthropic,
    answer: Answer,
    reason: str,
    sequence: str | None,
) -> None:
    fake.answers(answer)
    async with client.messages.stream(**ASKED) as stream:
        message = await stream.get_final_message()
    assert (message.stop_reason, message.stop_sequence) == (reason, sequence)


async def test_the_sdk_reads_a_refusal(
    fake: FakeAnthropic, client: anthropic.AsyncAnthropic
) -> None:
    fake.answers(Answer(refusal="No.", finish="content_filter"))
    message = await client.messages.create(**ASKED)
    assert message.stop_reason == "refusal"
    assert message.stop_details is not None
    assert message.stop_details.explanation == "No."


@pytest.mark.parametrize(("kind", "raised"), ERRORS)
async def test_the_sdk_knows_the_error(
    fake: FakeAnthropic,
    client: anthropic.AsyncAnthropic,
    kind: str,
    raised: type[anthropic.APIStatusError],
) -> None:
    fake.answers(anthropic_words.refusal(kind, "said so", retry_after="1"))
    with pytest.raises(raised, match="said so") as caught:
        await client.messages.create(**ASKED)
    assert caught.value.request_id == "req_011CZfake"


async def test_the_sdk_knows_an_error_inside_a_stream(
    fake: FakeAnthropic, client: anthropic.AsyncAnthropic
) -> None:
    fake.answers(anthropic_words.broken_by(Answer(text=("a",)), "overloaded_error", "Overloaded"))
    async with client.messages.stream(**ASKED) as stream:
        with pytest.raises(anthropic.APIStatusError, match="Overloaded"):
            await stream.get_final_message()


async def test_the_sdk_lists_models(fake: FakeAnthropic, client: anthropic.AsyncAnthropic) -> None:
    fake.models = ("claude-a", "claude-b")
    assert [model.id async for model in client.models.list()] == ["claude-a", "claude-b"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"messages": []}, "at least one message"),
        ({"messages": [{"role": "user", "content": ""}]}, "non-empty"),
        ({"stop_sequences": [" "]}, "non-whitespace"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"extra_body": {"seed": 1}}, "seed: Extra inputs"),
        ({"extra_body": {"temperature": 1}}, "temperature: Extra inputs"),  # the SDK's version
        ({"tool_choice": {"type": "any"}}, "while providing tools"),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, "budget_tokens"),
    ],
)
async def test_what_the_real_one_would_not_take_is_refused(
    client: anthropic.AsyncAnthropic, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(anthropic.BadRequestError, match=said):
        await client.messages.create(**{**ASKED, **changes})


async def test_the_sdk_may_come_with_an_answer_to_a_call(
    fake: FakeAnthropic, client: anthropic.AsyncAnthropic
) -> None:
    message = await client.messages.create(**ASKED)
    results = [
        {"type": "tool_result", "tool_use_id": block.id, "content": "5"}
        for block in message.content
        if block.type == "tool_use"
    ]
    turns = [*ASKED["messages"], message.to_param(), {"role": "user", "content": results}]
    await client.messages.create(**{**ASKED, "messages": turns})
    with pytest.raises(anthropic.BadRequestError, match="tool_result"):
        await client.messages.create(**{**ASKED, "messages": turns[:2]})


async def test_a_client_that_leaves_is_noticed(
    fake: FakeAnthropic, client: anthropic.AsyncAnthropic
) -> None:
    fake.hold_after = 600
    stream = await client.messages.create(**ASKED, stream=True)
    await anext(aiter(stream))
    await stream.close()
    await fake.left.wait()


def test_an_error_is_json() -> None:
    refused = anthropic_words.refusal("api_error", "oops")
    assert isinstance(refused, Refusal)
    assert json.loads(refused.body)["error"] == {"type": "api_error", "message": "oops"}
