"""What is read without decoding is what decoding would have given."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters import openai_decoders
from adapters.openai_decoders import StreamDecoder
from adapters.openai_faults import class_of
from adapters.repeated_chunk import MAX_WAIT, PAYS_OFF, PROBE, RepeatedChunk
from adapters.sse import SSEDecoder
from contracts.errors import UpstreamFault
from contracts.events import Delta, Event, Fault

pytestmark = pytest.mark.req("RUN-3")

DATA = Path(__file__).parent / "data"
RECORDED = sorted(path for path in DATA.rglob("*.sse") if b'"choices"' in path.read_bytes())
meaning = openai_decoders._events_of


def fault_of(found: Any, status: int | None) -> UpstreamFault:
    return UpstreamFault("broken", fault=class_of(found, status))


class Counted:
    """`meaning`, and how often it was asked."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self, data: bytes) -> list[Event]:
        self.times += 1
        return meaning(data)


def told(event: Event) -> str:
    return str(event.error) if isinstance(event, Fault) else str(msgspec.json.encode(event))


class Forgetful(RepeatedChunk):
    """It learns nothing."""

    def learn(self, data: bytes, events: list[Event]) -> None:
        pass


def read(repeated: RepeatedChunk, data: bytes) -> tuple[list[Event], bool]:
    """What a chunk says, and whether it was decoded for that."""
    found = repeated.read(data)
    if found is not None:
        return [found], False
    events = meaning(data)
    repeated.learn(data, events)
    return events, True


def chunk(text: str, **more: Any) -> bytes:
    delta = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    return json.dumps({"id": "x", "choices": [delta], **more}, ensure_ascii=False).encode()


TEXTS = st.one_of(
    st.sampled_from(
        ["", "a", '"', "\\", "\n", "null", '","x":"', "}", PROBE, "content", "x", "\u2028", "0"]
    ),
    st.text(max_size=4),
)
MEMBERS = st.sampled_from(
    ["content", "reasoning", "reasoning_content", "refusal", "role", "audio", "x"]
)
DELTAS = st.dictionaries(MEMBERS, st.one_of(TEXTS, st.none(), st.just({"a": 1})), max_size=2)
CHOICES = st.one_of(
    st.fixed_dictionaries(
        {"index": st.integers(0, 1), "delta": DELTAS},
        optional={"finish_reason": st.sampled_from([None, "stop"]), "logprobs": st.none()},
    ),
    st.fixed_dictionaries({"text": TEXTS}),
)
CHUNKS = st.fixed_dictionaries(
    {"choices": st.lists(CHOICES, min_size=1, max_size=2)},
    optional={
        "id": st.sampled_from(["1", "a", PROBE]),
        "error": st.sampled_from([None, "a"]),
        "usage": st.sampled_from([None, {"prompt_tokens": 1}]),
    },
)
STREAMS = st.tuples(
    st.lists(CHUNKS, min_size=1, max_size=2), st.lists(st.tuples(st.integers(0, 9), TEXTS))
)


def with_text(value: Any, text: str) -> Any:
    """`value` with each of its texts that is not empty replaced: the same shape, saying something else."""
    if isinstance(value, dict):
        keep = ("finish_reason", "id", "role")
        return {k: v if k in keep else with_text(v, text) for k, v in value.items()}
    if isinstance(value, list):
        return [with_text(item, text) for item in value]
    return text if isinstance(value, str) and value else value


@given(stream=STREAMS, spaced=st.booleans(), escaped=st.booleans())
def test_what_is_read_is_what_decoding_gives(stream, spaced, escaped):
    shapes, said = stream
    repeated = RepeatedChunk(meaning)
    between = None if spaced else (",", ":")
    for which, text in said:
        shape = with_text(shapes[which % len(shapes)], text)
        data = json.dumps(shape, ensure_ascii=escaped, separators=between)
        raw = data.encode("utf-8", "replace")
        assert read(repeated, raw)[0] == meaning(raw)


@given(data=st.data())
def test_no_damage_to_a_chunk_is_read_over(data):
    repeated = RepeatedChunk(meaning)
    read(repeated, chunk("a"))
    whole = chunk(data.draw(TEXTS))
    at = data.draw(st.integers(0, len(whole)))
    until = data.draw(st.integers(at, min(at + 3, len(whole))))
    damaged = whole[:at] + data.draw(st.binary(max_size=3)) + whole[until:]
    assert read(repeated, damaged)[0] == meaning(damaged)


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_a_recorded_stream_says_the_same_with_and_without(path):
    decoder, plain = StreamDecoder(fault_of), StreamDecoder(fault_of)
    plain._repeated = Forgetful(meaning)
    for event in SSEDecoder().feed(path.read_bytes()):
        found: list[Event] = []
        wanted: list[Event] = []
        decoder.read(event.event, event.data.strip(), found)
        plain.read(event.event, event.data.strip(), wanted)
        assert list(map(told, found)) == list(map(told, wanted))


def test_a_stream_of_like_chunks_is_decoded_twice_and_then_no_more():
    repeated, decoded = RepeatedChunk(counted := Counted()), 0
    for number in range(100):
        events, was_decoded = read(repeated, chunk(f"{number}"))
        assert events == [Delta(content=f"{number}")]
        decoded += was_decoded
    assert (decoded, counted.times) == (1, 1)


def test_chunks_that_are_never_alike_are_learned_ever_more_seldom():
    repeated = RepeatedChunk(counted := Counted())
    for number in range(2000):
        assert read(repeated, chunk("a", padding=f"{number}"))[1]
    assert counted.times < 2 + 10 + 2000 / MAX_WAIT


def test_a_chunk_that_changes_now_and_then_is_learned_again_at_once():
    repeated, decoded = RepeatedChunk(meaning), 0
    for number in range(100):
        decoded += read(repeated, chunk(f"{number}", created=number // (PAYS_OFF + 1)))[1]
    assert decoded == 100 / (PAYS_OFF + 1)


def test_an_event_named_error_is_never_taken_for_text():
    decoder, out = StreamDecoder(fault_of), []
    for name in ("message", "message", "error"):
        decoder.read(name, chunk("a"), out)
    assert [type(event).__name__ for event in out] == ["Opened", "Delta", "Delta", "Fault"]
