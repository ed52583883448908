"""Gemini's framing and its whole answers: no end marker, errors in bare JSON, documents in one piece."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from adapters.gemini import GeminiDialect
from contracts.errors import StreamBroken
from contracts.events import Fault
from tests.adapters.conformance.told import told
from tests.fakes import gemini_words
from tests.fakes.answers import Answer

DATA = Path(__file__).parent / "data" / "recordings" / "gemini"
GEMINI = GeminiDialect()
pytestmark = pytest.mark.req("RUN-1", "RUN-3")


def chunk(said: str, **more: Any) -> dict[str, Any]:
    return {"candidates": [{"content": {"parts": [{"text": said}]}, **more}], "responseId": "r1"}


@pytest.fixture
def events(decode):
    return lambda *given: decode(GEMINI, [gemini_words.framed(list(given))])


def test_an_error_as_an_event_ends_it_too(events):
    error = json.loads(gemini_words.refusal("UNAVAILABLE", "The model is overloaded.").body)
    *_, last = events(chunk("a"), error, chunk("b"))
    assert isinstance(last, Fault)
    assert (last.error.fault, last.error.message) == ("overload", "The model is overloaded.")


def test_an_event_that_is_not_json_breaks_the_stream(decode):
    *_, last = decode(GEMINI, [b"data: {oops\n\n"])
    assert isinstance(last, Fault)
    assert isinstance(last.error, StreamBroken)


def test_an_event_without_end_is_a_fault(decode):
    many = [b"data: " + b"x" * 1_000_000 + b"\n"] * 5
    *_, last = decode(GEMINI, many)
    assert isinstance(last, Fault)


# -- whole answers ----------------------------------------------------------------------------

DOCUMENTS = sorted(p.name for p in DATA.glob("json_*.json") if "meta" not in p.name)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_recorded_answer_says_what_its_provider_said(decode, normalise, name):
    body = (DATA / name).read_bytes()
    raw = json.loads(body)
    said = told(normalise(decode(GEMINI, [body], content_type="application/json")))
    (candidate,) = raw["candidates"]
    parts = candidate["content"].get("parts", [])
    assert said.text == "".join(p.get("text", "") for p in parts if not p.get("thought"))
    assert [(n, json.loads(a)) for _, n, a in said.calls] == [
        (p["functionCall"]["name"], p["functionCall"]["args"]) for p in parts if "functionCall" in p
    ]
    assert said.whole
    assert (said.finish == "content_filter") == (candidate["finishReason"] == "SAFETY")
    assert said.usage is not None
    assert said.usage.total_tokens == raw["usageMetadata"]["totalTokenCount"]


def test_a_list_of_pieces_is_one_answer(decode, normalise):
    pieces = msgspec.json.encode(gemini_words.pieces(Answer(text=("a", "b"))))
    said = told(normalise(decode(GEMINI, [pieces], content_type="application/json; charset=UTF-8")))
    assert (said.text, said.whole) == ("ab", True)


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b"\xff"])
def test_a_body_that_is_no_answer_is_a_fault(decode, body):
    *_, last = decode(GEMINI, [body], content_type="application/json")
    assert isinstance(last, Fault)


def test_a_200_with_an_error_in_it_is_a_fault(decode):
    body = gemini_words.refusal("UNAVAILABLE", "The model is overloaded.").body
    (fault,) = decode(GEMINI, [body], content_type="application/json")
    assert isinstance(fault, Fault)
    assert fault.error.fault == "overload"


def test_a_failure_inside_a_whole_answer_is_one(decode):
    body = msgspec.json.encode(chunk("a", finishReason="MALFORMED_FUNCTION_CALL"))
    *_, last = decode(GEMINI, [body], content_type="application/json")
    assert isinstance(last, Fault)
