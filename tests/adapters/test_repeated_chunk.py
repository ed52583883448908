"""What is read without decoding is what decoding would have given."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters import openai_decoders
from adapters.openai_decoders import StreamDecoder
from adapters.openai_faults import class_of
from adapters.repeated_chunk import MAX_WAIT, PAYS_OFF, RepeatedChunk
from adapters.sse import SSEDecoder
from contracts.errors import UpstreamFault
from contracts.events import Delta, Event, Fault
from tests.adapters.chunk_streams import MIXED, STREAMS, chunk, damaged, spelled

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

    def learn(self, data: bytes, event: Event) -> None:
        pass


def read(repeated: RepeatedChunk, chunks: list[bytes]) -> tuple[list[Event], int]:
    """What they say, and how many of them were decoded for that."""
    told: list[Event] = []
    decoded = 0
    for data in chunks:
        found = repeated.read(data)
        if found is not None:
            told.append(found)
            continue
        events = meaning(data)
        if len(events) == 1 and isinstance(events[0], Delta):
            repeated.learn(data, events[0])
        told += events
        decoded += 1
    return told, decoded


def by_reading(chunks: list[bytes]) -> list[Event]:
    return read(RepeatedChunk(meaning), chunks)[0]


def by_decoding(chunks: list[bytes]) -> list[Event]:
    return [event for data in chunks for event in meaning(data)]


@given(stream=STREAMS, spaced=st.booleans(), escaped=st.booleans())
def test_what_is_read_is_what_decoding_gives(stream, spaced, escaped):
    chunks = spelled(stream, spaced=spaced, escaped=escaped)
    assert by_reading(chunks) == by_decoding(chunks)


@given(chunks=damaged())
def test_no_damage_to_a_chunk_is_read_over(chunks):
    assert by_reading(chunks) == by_decoding(chunks)


@pytest.mark.parametrize("values", MIXED)
def test_what_chunks_have_in_place_of_their_texts_never_mixes(values):
    before, after = chunk("a").split(b'"a"')
    chunks = [chunk("a"), *(before + value + after for value in values)]
    assert by_reading(chunks) == by_decoding(chunks)


def test_a_chunk_that_ends_otherwise_is_decoded_though_it_is_as_long():
    last = chunk("b").replace(b"null", b'"ok"')
    chunks = [chunk("a"), chunk("b"), last, chunk("c")]
    assert by_reading(chunks) == by_decoding(chunks)


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_a_recorded_stream_says_the_same_with_and_without(path):
    plain = StreamDecoder(fault_of)
    plain.repeated = Forgetful(meaning)
    body = path.read_bytes()
    wanted = list(map(told, plain.feed(body)))
    whole = b"".join(b"data: %b\n\n" % event.data for event in SSEDecoder().feed(body))
    ends = [at + 2 for at in range(len(whole)) if whole.startswith(b"\n\n", at)]
    for data, events in ((body, 1), (whole, 1), (whole, 2), (whole, len(ends))):
        decoder, found = StreamDecoder(fault_of), []
        for start, stop in pairwise([0, *ends[events - 1 : -1 : events], len(data)]):
            found += decoder.feed(data[start:stop])
        assert list(map(told, found)) == wanted


def test_a_stream_of_like_chunks_is_decoded_twice_and_then_no_more():
    numbers = list(map(str, range(100)))
    told, decoded = read(RepeatedChunk(counted := Counted()), list(map(chunk, numbers)))
    assert told == [Delta(content=number) for number in numbers]
    assert (decoded, counted.times) == (1, 1)


def test_chunks_that_are_never_alike_are_learned_ever_more_seldom():
    repeated = RepeatedChunk(counted := Counted())
    for number in range(2000):
        assert read(repeated, [chunk("a", padding=f"{number}")])[1]
    assert counted.times < 2 + 10 + 2000 / MAX_WAIT


def test_a_chunk_that_changes_now_and_then_is_learned_again_at_once():
    repeated, decoded = RepeatedChunk(meaning), 0
    for number in range(100):
        decoded += read(repeated, [chunk(f"{number}", created=number // (PAYS_OFF + 1))])[1]
    assert decoded == 100 / (PAYS_OFF + 1)


def test_an_event_named_error_is_never_taken_for_text():
    unnamed = b"data: %b\n\n" % chunk("a")
    out = StreamDecoder(fault_of).feed(unnamed * 2 + b"event: error\n" + unnamed)
    assert [type(event).__name__ for event in out] == ["Opened", "Delta", "Delta", "Fault"]
