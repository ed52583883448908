"""What goes out spliced is what would have gone out by way of events, and is counted alike."""

import json
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from adapters.normalise import Normaliser
from adapters.openai_decoders import StreamDecoder
from adapters.openai_faults import class_of
from adapters.repeated_chunk import Member
from adapters.splice import Splice, TextSink
from adapters.sse import MAX_EVENT_BYTES
from contracts.errors import UpstreamFault
from contracts.events import Finish
from contracts.inference import Operation
from gateway.answers import Identity, StreamWriter

pytestmark = pytest.mark.req("RUN-3", "OPS-4")

DATA = Path(__file__).parent / "data"
RECORDED = sorted(path for path in DATA.rglob("*.sse") if b'"choices"' in path.read_bytes())


def fault_of(found: Any, status: int | None) -> UpstreamFault:
    return UpstreamFault("broken", fault=class_of(found, status))


class Told(TextSink):
    """One answer on its way to a client, as an attempt has it go; spliced where that is allowed and possible."""

    def __init__(
        self, *, splices: bool, operation: Operation = "chat", choices: int = 2, **writer: Any
    ) -> None:
        identity = Identity(operation=operation, id="x", created_s=5, model="mine")
        self.writer = StreamWriter(identity, include_usage=writer.get("include_usage", False))
        self.decoder = StreamDecoder(fault_of)
        self.normaliser = Normaliser(
            choices=choices, prompt_tokens=3, new_id=lambda: "call_1", where="there"
        )
        self.splice = Splice(self.decoder, self.normaliser, self) if splices else None
        self.spliced = 0
        self.opens = True
        self.reasons: list[tuple[int, str]] = []

    def around(self, choice: int, member: Member) -> tuple[bytes, bytes] | None:
        return self.writer.around(choice, member) if self.opens else None

    def send(self, frames: bytes, at_s: float) -> None:
        """It is returned instead."""

    def feed(self, data: bytes) -> bytes:
        """What one read becomes."""
        if self.splice is not None and (frames := self.splice.frames(data)):
            self.spliced += self.splice.pieces
            return frames
        events = self.normaliser.push(self.decoder.feed(data))
        self.reasons += [(e.choice, e.reason) for e in events if isinstance(e, Finish)]
        told = self.writer.write(events)
        if self.splice is not None:
            self.splice.renew()
        return told

    def close(self) -> bytes:
        return self.writer.write(
            [*self.normaliser.push(self.decoder.close()), *self.normaliser.close()]
        )


def all_of(told: Told, reads: Iterable[bytes]) -> object:
    """What becomes of each read and of the end, and what is known of it then."""
    return (
        [told.feed(data) for data in reads],
        told.close(),
        told.reasons,
        told.normaliser.estimate(),
        told.decoder.repeated.saved,
    )


def assert_alike(reads: list[bytes], **how: Any) -> int:
    """Returns how many frames were spliced."""
    spliced, plain = Told(splices=True, **how), Told(splices=False, **how)
    assert all_of(spliced, reads) == all_of(plain, reads)
    return spliced.spliced


CHUNK = b'{"id":"c","choices":[{"index":0,"delta":{"content":%b},"finish_reason":null}]}'
SHAPES = [
    CHUNK,
    CHUNK.replace(b"content", b"reasoning_content"),
    CHUNK.replace(b'"index":0', b'"index":1'),
    b'{"choices":[{"text":%b,"index":0}],"usage":null}',
    b'{"choices":[{"delta":{"content":%b}}],"usage":{"prompt_tokens":7,"completion_tokens":1}}',
    b'{\ndata: "choices":[{"delta":{"content":%b}}]}',
]
SPELLED = st.one_of(
    st.sampled_from(
        [
            rb'"a"',
            rb'""',
            rb'"\/"',
            rb'"/"',
            rb'"\u0041"',
            rb'"\u00e9"',
            '"é"'.encode(),
            rb'"\ud83d\ude00"',
            '"\U0001f600"'.encode(),
            rb'"\ud83d"',
            rb'"\ude00\ud83d"',
            rb'"\u0000"',
            rb'"\u001f\u007f\u2028\n\t\b\f\r"',
            '"\x7f\u2028"'.encode(),
            rb'"\\"',
            rb'"\""',
            rb'"\"',
            rb'"\x"',
            b'"\xff"',
            b'"\xed\xa0\x80"',
            b'"\n"',
            b'"\r"',
            b'"a\n\ndata: b"',
            b' "a"',
            b'"a" ',
            b'\n"a"',
            b'"a"\n',
            b'"a","x":"b"',
            b'"a"}},{"delta":{"content":"b"',
            b"null",
            b"1",
            b"",
            b'"',
        ]
    ),
    st.builds(
        lambda text, escaped: json.dumps(text, ensure_ascii=escaped).encode("utf-8", "replace"),
        st.text(max_size=4),
        st.booleans(),
    ),
)
FRAMES = st.one_of(
    st.builds(
        lambda shape, text: b"data: %b\n\n" % shape.replace(b"%b", text),
        st.sampled_from(SHAPES),
        SPELLED,
    ),
    st.sampled_from(
        [
            b": ping\n\n",
            b"\n",
            b"id: 5\n",
            b"event: error\n",
            b"event: message\n",
            b"data:\n\n",
            b"data: [DONE]\n\n",
            b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}\n\n',
            b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n',
            b'data: {"choices":[{"index":1,"delta":{},"finish_reason":"length"}]}\n\n',
            b'data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":4}}\n\n',
            b'data: {"error":{"message":"boom"}}\n\n',
            b'data: {"choices":[{"delta":{"tool_calls":[{"id":"a","function":{"name":"f"}}]}}]}\n\n',
            b'data: {"system_fingerprint":"fp","choices":[{"index":0,"delta":{"content":"a"}}]}\n\n',
        ]
    ),
)


def whole(shape: bytes, *texts: bytes) -> list[bytes]:
    return [b"data: %b\n\n" % shape.replace(b"%b", text) for text in texts]


@given(
    begins=st.sampled_from(SHAPES),
    frames=st.lists(st.one_of(FRAMES, SPELLED), max_size=12),
    together=st.lists(st.integers(1, 4), max_size=6),
    cuts=st.lists(st.integers(0, 2000), max_size=2),
    crlf=st.booleans(),
    how=st.fixed_dictionaries(
        {},
        optional={
            "operation": st.sampled_from(["chat", "completion"]),
            "choices": st.integers(1, 2),
            "include_usage": st.booleans(),
        },
    ),
)
@example(begins=SHAPES[-1], frames=[b'"b"'] * 3, together=[], cuts=[], crlf=False, how={})
def test_what_is_spliced_is_what_events_would_have_become(
    begins: bytes,
    frames: list[bytes],
    together: list[int],
    cuts: list[int],
    crlf: bool,
    how: dict[str, Any],
) -> None:
    """A stream whose chunk is known, and then any: that chunk with anything in the place of its text, other
    frames, some of them in one read, and cut anywhere."""
    stream = whole(begins, b'"a"', b'"b"')
    for frame in frames:
        stream += [frame] if frame.endswith(b"\n") and frame != b'"a"\n' else whole(begins, frame)
    reads, at = stream[:2], 2
    for size in together:
        reads.append(b"".join(stream[at : at + size]))
        at += size
    reads += stream[at:]
    for cut in cuts:
        which = cut % len(reads)
        place = cut % (len(reads[which]) + 1)
        reads[which : which + 1] = [reads[which][:place], reads[which][place:]]
    if crlf:
        reads[2:] = [data.replace(b"\n", b"\r\n") for data in reads[2:]]
    assert_alike(reads, **how)


@given(texts=st.lists(SPELLED, max_size=9), data=st.data())
def test_no_damage_to_a_read_is_read_over(texts: list[bytes], data: st.DataObject) -> None:
    reads = whole(CHUNK, b'"a"', b'"b"', *texts)
    for _ in range(data.draw(st.integers(1, 3))):
        which = data.draw(st.integers(0, len(reads) - 1))
        at = data.draw(st.integers(0, len(reads[which])))
        until = data.draw(st.integers(at, min(at + 3, len(reads[which]))))
        reads[which] = reads[which][:at] + data.draw(st.binary(max_size=3)) + reads[which][until:]
    assert_alike(reads)


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_a_recorded_stream_goes_out_the_same(path: Path) -> None:
    body = path.read_bytes()
    ends = [at + 2 for at in range(len(body)) if body.startswith(b"\n\n", at)]
    for events in (1, 3):
        edges = [0, *ends[events - 1 : -1 : events], len(body)]
        assert_alike([body[start:stop] for start, stop in pairwise(edges)])


@pytest.mark.parametrize("operation", ["chat", "completion"])
@pytest.mark.parametrize("at_once", [1, 3])
def test_all_but_a_streams_first_two_texts_are_spliced(operation: str, at_once: int) -> None:
    shape = SHAPES[0] if operation == "chat" else SHAPES[3]
    texts = whole(shape, b'"a"', b'"b"', *(json.dumps(f'"{n} é/').encode() for n in range(30)))
    reads = [*texts[:2], *(b"".join(texts[at : at + at_once]) for at in range(2, 32, at_once))]
    assert assert_alike(reads, operation=operation) == 30


def test_what_a_model_thinks_is_spliced_too() -> None:
    assert assert_alike(whole(SHAPES[1], *[b'"hm"'] * 10)) == 8


@pytest.mark.parametrize("other", [b": ping\n\n", *whole(CHUNK, b'""'), b"data: {}\n\n"])
def test_after_something_else_it_is_spliced_again(other: bytes) -> None:
    texts = whole(CHUNK, *[b'"a"'] * 6)
    assert assert_alike([*texts, other, *texts]) == 4 + 6


@pytest.mark.parametrize(
    "begun", [b"event: error\n", b"data: [\n", b"data", b'data: {"choices":[]}\n', b": ping"]
)
def test_what_comes_within_an_event_is_not_spliced(begun: bytes) -> None:
    texts = whole(CHUNK, *[b'"a"'] * 6)
    assert assert_alike([*texts, begun, texts[0]]) == 4


def test_a_chunk_of_several_lines_is_never_what_one_line_repeats() -> None:
    lines = whole(SHAPES[-1], *[b'"a"'] * 3)
    without_names = [lines[0].replace(b"\ndata: ", b"\n")]
    assert assert_alike([*lines, *without_names]) == 0


@pytest.mark.parametrize("end", [b"data: [DONE]\n\n", b'data: {"error":{"message":"no"}}\n\n'])
def test_after_the_end_nothing_is_spliced(end: bytes) -> None:
    texts = whole(CHUNK, *[b'"a"'] * 6)
    assert assert_alike([*texts, end, *texts]) == 4


def test_a_choice_that_has_finished_says_nothing_more() -> None:
    finish = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
    texts = whole(CHUNK, *[b'"a"'] * 6)
    assert assert_alike([*texts, finish, *texts], choices=2) == 4


def test_nothing_is_spliced_for_a_sink_that_is_not_open() -> None:
    told = Told(splices=True)
    told.opens = False
    for data in whole(CHUNK, *[b'"a"'] * 6):
        told.feed(data)
    assert told.spliced == 0


def test_a_text_larger_than_an_event_may_be_is_not_spliced() -> None:
    large = b'"%b"' % (b"x" * MAX_EVENT_BYTES)
    assert assert_alike(whole(CHUNK, b'"a"', b'"b"', large, b'"c"')) == 0


def test_each_read_is_one_string_for_its_client() -> None:
    """So that one write carries it."""
    told = Told(splices=True)
    reads = whole(CHUNK, b'"a"', b'"b"', rb'"\u00e9\/"')
    last = [told.feed(data) for data in reads][-1]
    frame = msgspec.json.decode(last.removeprefix(b"data: "))
    assert frame["choices"][0]["delta"] == {"content": "é/"}
    assert '"é/"'.encode() in last
