"""What only Gemini's answers say: calls in pieces, blocked prompts, signatures, reasons that are failures."""

import json
from typing import Any

import pytest

from adapters.dialect import AttemptContext, WireHead
from adapters.gemini import GeminiDialect
from adapters.gemini_answer import MAX_CANDIDATES
from contracts.errors import StreamBroken, UpstreamFault
from contracts.events import Delta, End, Event, Fault, Finish, Opened, Usage, UsageReport
from tests.adapters.conformance.told import told
from tests.fakes import gemini_words

GEMINI = GeminiDialect()
pytestmark = pytest.mark.req("RUN-1", "RUN-3")


def chunk(*parts: dict[str, Any], index: int = 0, reason: str | None = None, **more: Any) -> Any:
    candidate: dict[str, Any] = {"content": {"parts": list(parts), "role": "model"}}
    if index:
        candidate["index"] = index
    if reason:
        candidate["finishReason"] = reason
    beside = {n: more.pop(n) for n in ("finishMessage", "logprobsResult") if n in more}
    return {"candidates": [{**candidate, **beside}], "responseId": "r1", **more}


def text(said: str, **more: Any) -> dict[str, Any]:
    return {"text": said, **more}


def call(**piece: Any) -> dict[str, Any]:
    return {"functionCall": piece}


STOP = chunk(
    text(""), reason="STOP", usageMetadata={"promptTokenCount": 5, "candidatesTokenCount": 2}
)


@pytest.fixture
def events(decode):
    return lambda *given: decode(GEMINI, [gemini_words.framed(list(given))])


def details_of(said: list[Event]) -> list[Any]:
    return [
        entry
        for event in said
        if isinstance(event, Delta) and event.extra
        for entry in json.loads(bytes(event.extra["reasoning_details"]))
    ]


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("STOP", "stop"),
        ("MAX_TOKENS", "length"),
        ("CONTINUATION", "length"),
        ("SAFETY", "content_filter"),
        ("RECITATION", "content_filter"),
        ("PROHIBITED_CONTENT", "content_filter"),
        ("SPII", "content_filter"),
        ("A_NEW_ONE", "A_NEW_ONE"),
    ],
)
def test_each_reason_has_its_word(events, reason, finish):
    assert Finish(reason=finish) in events(chunk(text("a"), reason=reason))


@pytest.mark.parametrize(
    ("reason", "fault"),
    [
        ("MALFORMED_FUNCTION_CALL", "upstream_bug"),
        ("UNEXPECTED_TOOL_CALL", "upstream_bug"),
        ("MALFORMED_RESPONSE", "upstream_bug"),
        ("OTHER", "upstream_bug"),
        ("MISSING_THOUGHT_SIGNATURE", "client"),
    ],
)
def test_a_reason_that_is_a_failure_is_a_fault(events, reason, fault):
    said = events(chunk(text("a")), chunk(reason=reason, finishMessage="why"), chunk(text("b")))
    *_, last = said
    assert isinstance(last, Fault)
    assert isinstance(last.error, UpstreamFault)
    assert last.error.fault == fault
    assert last.error.message == f"the engine ended its answer with {reason}: why"
    assert last.error.status == (400 if fault == "client" else 502)


def test_a_reason_that_says_nothing_is_none(events, normalise):
    said = normalise(events(chunk(text("a"), reason="FINISH_REASON_UNSPECIFIED"), STOP))
    assert (told(said).text, told(said).finish) == ("a", "stop")


def test_a_stream_without_a_reason_is_no_answer(events, normalise):
    said = normalise(events(chunk(text("a"), usageMetadata={"promptTokenCount": 3})))
    assert isinstance(said[-1], Fault)
    assert isinstance(said[-1].error, StreamBroken)


def test_a_blocked_prompt_is_a_refusal_for_every_answer_that_was_asked(make_request, normalise):
    head = WireHead(status=200, headers={"content-type": "text/event-stream"})
    decoder = GEMINI.decoder(make_request(n=2), AttemptContext(upstream_model="m"), head)
    said = normalise(decoder.feed(gemini_words.blocked("SAFETY", 7)) + decoder.close(), choices=2)
    refusals = [event for event in said if isinstance(event, Delta)]
    assert [(r.choice, r.refusal) for r in refusals] == [
        (0, "the prompt was blocked: SAFETY"),
        (1, "the prompt was blocked: SAFETY"),
    ]
    assert Finish(choice=1, reason="content_filter") in said
    assert UsageReport(usage=Usage(prompt_tokens=7, completion_tokens=0)) in said
    assert said[-1] == End()


def test_why_a_prompt_was_blocked_is_told_where_gemini_tells_it(events):
    feedback = {"blockReason": "MODEL_ARMOR", "blockReasonMessage": "because"}
    assert Delta(refusal="because") in events({"promptFeedback": feedback})


def test_feedback_about_a_prompt_that_was_answered_is_passed_over(events):
    said = events({"promptFeedback": {"safetyRatings": []}}, {**STOP, "promptFeedback": {}})
    assert not [event for event in said if isinstance(event, Delta)]


def test_counts_are_cumulative_and_made_inclusive(events):
    usage = {
        "promptTokenCount": 100,
        "toolUsePromptTokenCount": 10,
        "cachedContentTokenCount": 80,
        "candidatesTokenCount": 7,
        "thoughtsTokenCount": 30,
        "serviceTier": "standard",
    }
    early = {"promptTokenCount": 999, "candidatesTokenCount": 1, "serviceTier": "standard"}
    said = events(
        chunk(text("a"), usageMetadata=early),
        chunk(text("b"), usageMetadata={"trafficType": "ON_DEMAND"}),
        chunk(reason="STOP", usageMetadata=usage),
    )
    assert said[0] == Opened(service_tier="default")
    counted = Usage(prompt_tokens=110, completion_tokens=37, cached_tokens=80, reasoning_tokens=30)
    assert [event for event in said if isinstance(event, UsageReport)] == [
        UsageReport(usage=counted)
    ]


def test_counts_that_come_after_the_reason_count(events, normalise):
    said = events(chunk(text("a"), reason="STOP"), {"usageMetadata": {"promptTokenCount": 4}})
    assert told(normalise(said)).usage == Usage(prompt_tokens=4, completion_tokens=0)


def test_several_candidates_are_told_apart(events, normalise):
    said = normalise(
        events(
            chunk(text("a"), index=1),
            {
                "candidates": [
                    chunk(text("b"))["candidates"][0],
                    chunk(call(name="f"), index=1)["candidates"][0],
                ]
            },
            chunk(reason="STOP"),
            chunk(reason="MAX_TOKENS", index=1),
            chunk(text("c"), index=MAX_CANDIDATES),
        ),
        choices=2,
    )
    texts = [(e.choice, e.content) for e in said if isinstance(e, Delta) and e.content]
    assert texts == [(1, "a"), (0, "b")]
    assert [e for e in said if isinstance(e, Finish)] == [
        Finish(reason="stop"),
        Finish(reason="length", choice=1),
    ]


def test_a_call_without_an_id_gets_one_of_its_own(events, normalise):
    said = told(
        normalise(
            events(
                chunk(call(name="f", args={"a": 1}), call(name="f")), chunk(call(name="g")), STOP
            )
        )
    )
    assert said.calls == [
        ("r1-0-0", "f", '{"a":1}'),
        ("r1-0-1", "f", "{}"),
        ("r1-0-2", "g", "{}"),
    ]
    assert said.finish == "tool_calls"


def test_a_call_in_pieces_begins_at_once_and_is_told_whole_at_its_end(events, normalise):
    said = events(
        chunk(call(id="c", name="f", willContinue=True)),
        chunk(call(partialArgs=[{"jsonPath": "$.a", "stringValue": "x"}], willContinue=True)),
        chunk(call(partialArgs=[{"jsonPath": "$.a", "stringValue": "y"}])),
        chunk(call()),
        chunk(call(id="d", name="g", willContinue=True)),
        chunk(call(id="e", name="h", partialArgs=[{"jsonPath": "$.b", "numberValue": 1}])),
        STOP,
    )
    first = next(event for event in said if isinstance(event, Delta))
    assert (first.tool_calls[0].id, first.tool_calls[0].arguments) == ("c", "")
    assert told(normalise(said)).calls == [
        ("c", "f", '{"a":"xy"}'),
        ("d", "g", "{}"),
        ("e", "h", '{"b":1}'),
    ]


def test_a_call_that_is_not_told_to_its_end_ends_with_its_answer(events, normalise):
    said = events(chunk(call(id="c", name="f", willContinue=True)), STOP)
    assert told(normalise(said)).calls == [("c", "f", "{}")]


def test_a_piece_of_a_call_that_has_no_place_breaks_the_stream(events):
    *_, last = events(
        chunk(call(id="c", name="f", partialArgs=[{"jsonPath": "nowhere"}], willContinue=True))
    )
    assert isinstance(last, Fault)
    assert isinstance(last.error, StreamBroken)


def test_signatures_are_told_for_the_way_back(events):
    signature = {"thoughtSignature": "c2ln"}
    said = events(
        chunk(text("Hm", thought=True, **signature)),
        chunk({**call(id="c", name="f"), **signature}, {**call(name="g"), **signature}),
        chunk({"toolCall": {"id": "s"}, **signature}),
        chunk(text("", **signature), reason="STOP"),
    )
    common = {"type": "reasoning.encrypted", "format": "google-gemini-v1", "data": "c2ln"}
    assert details_of(said) == [
        {**common, "index": 0, "id": "c"},
        {**common, "index": 1, "id": "r1-0-1"},
        {**common, "index": 2},
    ]


def test_googles_own_tools_are_passed_over(events, normalise):
    said = told(
        normalise(
            events(
                chunk({"executableCode": {"code": "1"}}, {"codeExecutionResult": {"output": "1"}}),
                chunk(text("One.")),
                STOP,
            )
        )
    )
    assert (said.text, said.calls) == ("One.", [])


def test_an_image_is_told_as_openrouter_tells_it(events):
    said = events(chunk({"inlineData": {"mimeType": "image/png", "data": "iVBORw=="}}))
    (image,) = [event.extra for event in said if isinstance(event, Delta)]
    assert image is not None
    url = {"url": "data:image/png;base64,iVBORw=="}
    assert json.loads(bytes(image["images"])) == [{"type": "image_url", "image_url": url}]


def test_probabilities_are_told_as_openai_tells_them(events):
    logprobs = {
        "chosenCandidates": [{"token": "a", "tokenId": 5, "logProbability": -0.5}, {"token": "b"}],
        "topCandidates": [{"candidates": [{"token": "a", "logProbability": -0.5}]}],
    }
    said = events(chunk(text("ab"), logprobsResult=logprobs))
    (raw,) = [event.logprobs for event in said if isinstance(event, Delta) and event.logprobs]
    entry = {"token": "a", "logprob": -0.5, "bytes": [97]}
    assert json.loads(bytes(raw))["content"] == [
        {**entry, "top_logprobs": [entry]},
        {"token": "b", "logprob": 0.0, "bytes": [98], "top_logprobs": []},
    ]
