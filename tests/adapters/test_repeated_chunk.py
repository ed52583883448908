"""What is read without decoding is what decoding would have given."""

import json
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
from adapters.repeated_chunk import MAX_JOINED, MAX_WAIT, PAYS_OFF, PROBE, RepeatedChunk
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

    def learn(self, data: bytes, event: Event) -> None:
        pass


def read(repeated: RepeatedChunk, chunks: list[bytes]) -> tuple[list[Event], int]:
    """What they say, and how many of them were decoded for that."""
    told: list[Event] = []
    at = decoded = 0
    while at < len(chunks):
        found = repeated.read(chunks, at)
        if found is not None:
            told.append(found)
            at += found.pieces
            continue
        events = meaning(chunks[at])
        if len(events) == 1:
            repeated.learn(chunks[at], events[0])
        told += events
        at, decoded = at + 1, decoded + 1
    return told, decoded


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


SIZES = st.lists(st.integers(1, 9), max_size=9)


def by_reading(chunks: list[bytes], sizes: list[int]) -> tuple[list[Event], list[Event]]:
    """What they say, where so many come at a time and at last the rest: one by one, and joined."""
    told: tuple[list[Event], list[Event]] = ([], [])
    for joins in (False, True):
        repeated, at = RepeatedChunk(meaning, joins=joins), 0
        for size in [*sizes, len(chunks)]:
            told[joins].extend(read(repeated, chunks[at : at + size])[0])
            at += size
    return told


def by_decoding(chunks: list[bytes]) -> list[Event]:
    return [event for data in chunks for event in meaning(data)]


def joined(events: list[Event]) -> list[Event]:
    """With neighbouring texts as one."""
    out: list[Event] = []
    for event in events:
        match out[-1:], event:
            case [Delta() as last], Delta() if alike(last) == alike(event):
                out[-1] = msgspec.structs.replace(
                    last,
                    content=last.content + event.content,
                    reasoning=last.reasoning + event.reasoning,
                    pieces=last.pieces + event.pieces,
                )
            case _:
                out.append(event)
    return out


def alike(delta: Delta) -> object:
    """What two of them have in common that may be joined."""
    bare = msgspec.structs.replace(delta, content="", reasoning="", pieces=1)
    only = bool(delta.content) + 2 * bool(delta.reasoning)
    return (delta.choice, only) if bare == Delta(choice=delta.choice) and only < 3 else delta


@given(stream=STREAMS, sizes=SIZES, spaced=st.booleans(), escaped=st.booleans())
def test_what_is_read_is_what_decoding_gives(stream, sizes, spaced, escaped):
    shapes, said = stream
    between = None if spaced else (",", ":")
    chunks = []
    for which, text in said:
        shape = with_text(shapes[which % len(shapes)], text)
        data = json.dumps(shape, ensure_ascii=escaped, separators=between)
        chunks.append(data.encode("utf-8", "replace"))
    one_by_one, together = by_reading(chunks, sizes)
    assert one_by_one == by_decoding(chunks)
    assert joined(together) == joined(one_by_one)


@given(said=st.lists(TEXTS, min_size=1, max_size=9), sizes=SIZES, data=st.data())
def test_no_damage_to_a_chunk_is_read_over(said, sizes, data):
    chunks = list(map(chunk, ["a", *said]))
    for _ in range(data.draw(st.integers(1, 3))):
        which = data.draw(st.integers(0, len(chunks) - 1))
        whole = chunks[which]
        at = data.draw(st.integers(0, len(whole)))
        until = data.draw(st.integers(at, min(at + 3, len(whole))))
        chunks[which] = whole[:at] + data.draw(st.binary(max_size=3)) + whole[until:]
    one_by_one, together = by_reading(chunks, sizes)
    assert one_by_one == by_decoding(chunks)
    assert joined(together) == joined(one_by_one)


@pytest.mark.parametrize(
    "values",
    [
        [b'"a","b"'],
        [b'"a","b"', b'"c', b'd"'],  # as many texts as chunks, if the chunks did not matter
        [b'"c', b'd"', b'"a","b"'],
        [b'"a"', b"", b'"b","c"'],
        [b'"a"', b'""', b'"b"'],
        [b'"a"', b"\xff", b'"b"'],
        [b'"a"', b"1", b'"b"'],
        [b'"a"]', b'["b"'],
    ],
)
def test_what_chunks_have_in_place_of_their_texts_never_mixes(values):
    before, after = chunk("a").split(b'"a"')
    chunks = [chunk("a"), *(before + value + after for value in values)]
    one_by_one, together = by_reading(chunks, [])
    assert one_by_one == by_decoding(chunks)
    assert joined(together) == joined(one_by_one)


def test_a_chunk_that_ends_otherwise_is_decoded_though_it_is_as_long():
    last = chunk("b").replace(b"null", b'"ok"')
    chunks = [chunk("a"), chunk("b"), last, chunk("c")]
    one_by_one, together = by_reading(chunks, [])
    assert one_by_one == by_decoding(chunks)
    assert joined(together) == joined(one_by_one)


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
    for size in (1, 30, 100):
        repeated, decoded = RepeatedChunk(counted := Counted()), 0
        for first in range(0, 100, size):
            numbers = [f"{number}" for number in range(first, first + size)]
            told, more = read(repeated, list(map(chunk, numbers)))
            assert told == [Delta(content=number) for number in numbers]
            decoded += more
        assert (decoded, counted.times) == (1, 1)


def test_texts_that_are_joined_come_so_many_at_a_time():
    repeated = RepeatedChunk(meaning, joins=True)
    told, _ = read(repeated, [chunk("a")] * (2 * MAX_JOINED + 1))
    assert told == [
        Delta(content="a"),
        *[Delta(content="a" * MAX_JOINED, pieces=MAX_JOINED)] * 2,
    ]


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
