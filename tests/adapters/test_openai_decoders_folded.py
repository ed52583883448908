"""An answer that nobody sees before its end says what its chunks say one by one."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from adapters.openai_decoders import ChunkDecoder, FoldedStreamDecoder
from adapters.openai_faults import class_of
from adapters.openai_wire import (
    ChoicePiece,
    ChunkPiece,
    DeltaPiece,
    TextChoice,
    TextChunk,
    TextDelta,
    read_texts,
)
from contracts.errors import UpstreamFault
from contracts.events import Delta, End, Event, Fault, Finish, Opened
from tests.adapters.chunk_streams import MIXED, STREAMS, chunk, damaged, spelled
from tests.cost.in_memory import counting

pytestmark = pytest.mark.req("RUN-3", "OPS-4")

DATA = Path(__file__).parent / "data"
RECORDED = sorted(path for path in DATA.rglob("*.sse") if b'"choices"' in path.read_bytes())
PLACES = st.lists(st.integers(0, 20_000), max_size=6)
FRAMES = st.sampled_from(
    [
        b"data: %b\n\n",
        b"data: %b\r\n\r\n",
        b"data:%b\n\n",
        b"data: %b \n\n",
        b"event: error\ndata: %b\n\n",
    ]
)


def fault_of(found: Any, status: int | None) -> UpstreamFault:
    return UpstreamFault(found.message or "broken", fault=class_of(found, status))


def told(decoder: ChunkDecoder, stream: bytes, places: list[int]) -> list[object]:
    """What it makes of a stream that is cut there, with neighbouring texts as one."""
    edges = [0, *sorted(place % (len(stream) + 1) for place in places), len(stream)]
    events = [
        event for start, stop in pairwise(edges) for event in decoder.feed(stream[start:stop])
    ]
    return [
        (str(event.error), event.error.code) if isinstance(event, Fault) else event
        for event in joined([*events, *decoder.close()])
    ]


def joined(events: list[Event]) -> list[Event]:
    out: list[Event] = []
    for event in events:
        match out[-1:], event:
            case [Delta() as last], Delta() if is_text(last) and is_text(event):
                out[-1] = Delta(
                    content=last.content + event.content, pieces=last.pieces + event.pieces
                )
            case _:
                out.append(event)
    return out


def is_text(event: Delta) -> bool:
    return event == Delta(content=event.content, pieces=event.pieces)


def same(stream: bytes, places: list[int]) -> None:
    one_by_one = told(ChunkDecoder(fault_of), stream, [])
    assert told(FoldedStreamDecoder(fault_of), stream, places) == one_by_one


def events(chunks: list[bytes], frame: bytes = b"data: %b\n\n") -> bytes:
    return b"".join(frame % data for data in [*chunks, b"[DONE]"])


@given(path=st.sampled_from(RECORDED), places=PLACES)
def test_a_recorded_stream(path: Path, places: list[int]) -> None:
    same(path.read_bytes(), places)


@given(stream=STREAMS, frame=FRAMES, places=PLACES, spaced=st.booleans(), escaped=st.booleans())
def test_any_stream(
    stream: Any, frame: bytes, places: list[int], spaced: bool, escaped: bool
) -> None:
    same(events(spelled(stream, spaced=spaced, escaped=escaped), frame), places)


@given(chunks=damaged(), places=PLACES)
@example(chunks=[chunk("a"), chunk("b").replace(b'"x"', b'"\xff"'), chunk("c")], places=[])
@example(chunks=[chunk("a"), chunk("\xe4").replace(b"\xc3", b""), chunk("c")], places=[])
@example(chunks=[chunk("a"), b"[" * 5000, chunk("c")], places=[])
@example(chunks=[chunk("a"), b'{"x":' + b"[" * 5000 + b"}", chunk("c")], places=[])
def test_a_damaged_stream(chunks: list[bytes], places: list[int]) -> None:
    same(events(chunks), places)


@pytest.mark.parametrize("values", MIXED)
def test_what_chunks_have_in_place_of_their_texts(values: list[bytes]) -> None:
    before, after = chunk("a").split(b'"a"')
    same(events([chunk("a"), *(before + value + after for value in values)]), [])


@given(data=st.data())
def test_any_member_with_anything_in_it(data: st.DataObject) -> None:
    """Also what is there twice, or is of a type that it may not have."""
    values = st.sampled_from(
        ["null", '""', '"a"', "0", "1", "0.0", "{}", "[]", '{"a":1}', '[{"a":1}]']
    )

    def members(piece: type[msgspec.Struct]) -> st.SearchStrategy[str]:
        names = st.sampled_from([field.name for field in msgspec.structs.fields(piece)])
        return st.lists(st.tuples(names, values), max_size=3).map(
            lambda pairs: "".join(f',"{name}":{value}' for name, value in pairs)
        )

    delta, choice, more = (
        data.draw(members(piece)) for piece in (DeltaPiece, ChoicePiece, ChunkPiece)
    )
    told = f'{{"choices":[{{"delta":{{"content":"b"{delta}}}{choice}}}]{more}}}'
    odd = told.encode()
    same(events([chunk("a"), chunk("a"), odd, odd, chunk("c")]), [])


@pytest.mark.parametrize(
    "odd",
    [
        chunk("b").replace(b'"index": 0', b'"index": 1'),
        chunk("b", error="no more"),
        chunk("b", usage={"prompt_tokens": 1}),
        chunk("b", service_tier=1),
        chunk("b").replace(b"null", b'"stop"'),
        chunk("b").replace(b'"delta"', b'"logprobs": {"content": [{}]}, "delta"'),
        chunk("b").replace(b'"content"', b'"reasoning": "c", "content"'),
        chunk("b") + b"\n\nevent: error\ndata: " + chunk("c"),
    ],
)
def test_a_chunk_that_says_more_than_a_text(odd: bytes) -> None:
    same(events([chunk("a"), chunk("a"), odd, odd, chunk("c")]), [])
    same(events([chunk("a"), odd]), [len(chunk("a"))])


def test_texts_that_come_together_are_one_event() -> None:
    decoder = FoldedStreamDecoder(fault_of)
    finish = chunk("").replace(b"null", b'"stop"')
    assert decoder.feed(events([*map(chunk, "abcd"), finish])) == [
        Opened(),
        Delta(content="a"),
        Delta(content="bcd", pieces=3),
        Finish(reason="stop"),
        End(),
    ]


def test_many_texts_that_come_together_take_as_many_calls_as_two() -> None:
    """With those of C: a request's time goes where its calls are."""

    def calls(texts: int) -> int:
        stream = events([chunk("a")] * texts)
        decoder = FoldedStreamDecoder(fault_of)
        with counting() as counted:
            decoder.feed(stream)
        return sum(counted.values())

    assert calls(2 + 1) == calls(100 + 1)


def test_texts_are_read_as_far_as_there_is_nothing_else() -> None:
    assert read_texts([chunk("a"), chunk("b"), b"[DONE]", chunk("c")]) == ["a", "b"]
    assert read_texts([chunk("")]) == read_texts([]) == []


@pytest.mark.parametrize(
    ("narrow", "wide"),
    [(TextDelta, DeltaPiece), (TextChoice, ChoicePiece), (TextChunk, ChunkPiece)],
)
def test_nothing_that_a_chunk_can_say_is_overlooked(
    narrow: type[msgspec.Struct], wide: type[msgspec.Struct]
) -> None:
    names = [{field.name for field in msgspec.structs.fields(piece)} for piece in (narrow, wide)]
    assert names[0] == names[1]
