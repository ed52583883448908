"""What only Ollama's streams do: a last line that says done, calls that are whole, errors that are lines."""

import json
from pathlib import Path
from typing import Any

import pytest

from adapters.ollama import OllamaDialect
from contracts.errors import StreamBroken
from contracts.events import Delta, End, Fault, Finish, Opened, Usage, UsageReport
from tests.adapters.conformance.told import told
from tests.fakes import ollama_words
from tests.fakes.answers import Answer

DATA = Path(__file__).parent / "data" / "recordings" / "ollama"
OLLAMA = OllamaDialect()
NDJSON = "application/x-ndjson"
pytestmark = pytest.mark.req("RUN-1", "RUN-3")


def line(**message: Any) -> dict[str, Any]:
    return {"model": "m", "message": {"role": "assistant", **message}, "done": False}


def done(reason: str | None = "stop", **more: Any) -> dict[str, Any]:
    said = {} if reason is None else {"done_reason": reason}
    return {"message": {"role": "assistant", "content": ""}, "done": True, **said, **more}


@pytest.fixture
def events(decode):
    return lambda *given: decode(OLLAMA, [ollama_words.framed(list(given))], content_type=NDJSON)


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("load", "stop"),
        ("unload", "stop"),
        (None, "stop"),
        ("a_new_one", "a_new_one"),
    ],
)
def test_each_reason_has_its_word(events, reason, finish):
    assert events(done(reason)) == [Opened(), Finish(reason=finish), End()]


def test_a_reason_that_is_a_failure_is_a_fault(events, normalise):
    *_, last = normalise(events(line(content="a"), done("error")))
    assert isinstance(last, Fault)


def test_a_stream_that_is_not_done_is_no_answer(events, normalise):
    *_, last = normalise(events(line(content="a")))
    assert isinstance(last, Fault)
    assert isinstance(last.error, StreamBroken)


def test_after_the_line_that_says_done_nothing_is_read(events):
    assert events(done(), line(content="more")) == [Opened(), Finish(reason="stop"), End()]


def test_counts_are_on_the_last_line(events):
    said = events(line(content="a"), done(prompt_eval_count=9, eval_count=4, load_duration=10**9))
    assert UsageReport(usage=Usage(prompt_tokens=9, completion_tokens=4)) in said


def test_a_prompt_that_was_still_in_the_cache_is_counted_by_the_gateway(events):
    said = events(done(eval_count=4))
    assert UsageReport(usage=Usage(prompt_tokens=7, completion_tokens=4, estimated=True)) in said
    assert not [e for e in events(done()) if isinstance(e, UsageReport)]


def test_calls_are_whole_and_get_ids_where_they_have_none(events, normalise):
    said = told(
        normalise(
            events(
                line(
                    content="",
                    tool_calls=[
                        {"function": {"name": "f", "arguments": {"b": 1, "a": [1.50]}}},
                        {"id": "x", "function": {"name": "g"}},
                        {"function": {"arguments": {}}},
                        {},
                    ],
                ),
                line(tool_calls=[{"function": {"index": 0, "name": "h", "arguments": {}}}]),
                done(),
            )
        )
    )
    assert said.calls == [
        ("made-0", "f", '{"b":1,"a":[1.5]}'),
        ("x", "g", "{}"),
        ("made-1", "h", "{}"),
    ]
    assert said.finish == "tool_calls"


def test_arguments_keep_their_bytes(decode, normalise):
    body = b'{"message":{"tool_calls":[{"id":"x","function":{"name":"f","arguments":{"n":1.50, "s":"\\u003c"}}}]}}\n'
    body += ollama_words.framed([done()])
    said = told(normalise(decode(OLLAMA, [body], content_type=NDJSON)))
    assert said.calls == [("x", "f", '{"n":1.50, "s":"\\u003c"}')]


def test_probabilities_are_told_as_openai_tells_them(events):
    entry = {"token": "a", "logprob": -0.5}
    said = events(
        {**line(content="a"), "logprobs": [{**entry, "bytes": [97], "top_logprobs": [entry]}]}
    )
    (raw,) = [event.logprobs for event in said if isinstance(event, Delta) and event.logprobs]
    full = {**entry, "bytes": [97]}
    assert json.loads(bytes(raw))["content"] == [{**full, "top_logprobs": [full]}]


def test_an_error_line_ends_it(events):
    *_, last = events(line(content="a"), {"error": "CUDA error"}, line(content="b"))
    assert isinstance(last, Fault)
    assert (last.error.fault, last.error.message) == ("upstream_bug", "CUDA error")


def test_empty_lines_are_passed_over(decode):
    body = b"\n\r\n" + ollama_words.stream(Answer(text=("a",))).replace(b"\n", b"\r\n\r\n")
    assert Delta(content="a") in decode(OLLAMA, [body], content_type=NDJSON)


def test_a_line_that_is_not_json_breaks_the_stream(decode):
    *_, last = decode(OLLAMA, [b"{oops\n"], content_type=NDJSON)
    assert isinstance(last, Fault)
    assert isinstance(last.error, StreamBroken)


# -- whole answers ----------------------------------------------------------------------------

DOCUMENTS = sorted(
    p.name for p in DATA.glob("json_*.json") if "meta" not in p.name and "cloud" not in p.name
)
"""Those of `/api`; Ollama's cloud was recorded as it speaks OpenAI's language."""


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_recorded_answer_says_what_its_provider_said(decode, normalise, name):
    body = (DATA / name).read_bytes()
    raw = json.loads(body)
    said = told(normalise(decode(OLLAMA, [body], content_type="application/json; charset=utf-8")))
    assert said.text == raw.get("response", raw.get("message", {}).get("content"))
    assert (said.whole, said.finish) == (True, raw["done_reason"])
    assert said.usage is not None
    assert said.usage.completion_tokens == raw["eval_count"]


@pytest.mark.parametrize("body", [b"", b"[]", b"\xff", b'{"error":"oops"}'])
def test_a_body_that_is_no_answer_is_a_fault(decode, body):
    *_, last = decode(OLLAMA, [body], content_type="application/json")
    assert isinstance(last, Fault)


def test_a_whole_answer_that_is_not_done_is_none(decode, normalise):
    body = b'{"message":{"content":"a"},"done":false}'
    *_, last = normalise(decode(OLLAMA, [body], content_type="application/json"))
    assert isinstance(last, Fault)
