import base64
import json
import time
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.sse import EventTooLarge, SSEDecoder, SSEEvent

CASES = json.loads((Path(__file__).parent / "data" / "sse_cases.json").read_text())["cases"]
BY_ID = {case["id"]: case for case in CASES}
INPUTS = {name: base64.b64decode(case["input_b64"]) for name, case in BY_ID.items()}
SHORT = sorted(name for name, data in INPUTS.items() if len(data) <= 4096)

pytestmark = pytest.mark.req("RUN-3")


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(p % (len(data) + 1) for p in places), len(data)]
    return [data[start:stop] for start, stop in pairwise(edges)]


def sized(data: bytes, sizes: list[int]) -> list[bytes]:
    chunks, at = [], 0
    for size in sizes:
        chunks.append(data[at : at + size])
        at += size
    return [*chunks, data[at:]]


def fed(decoder: SSEDecoder, chunks: list[bytes]) -> list[SSEEvent]:
    return [event for chunk in chunks for event in decoder.feed(chunk)]


def everything(chunks: list[bytes]) -> tuple[list[SSEEvent], int, int | None]:
    decoder = SSEDecoder()
    events = fed(decoder, chunks) + decoder.close()
    return events, decoder.comments, decoder.retry_ms


def cuttings(case: dict, data: bytes) -> dict[str, list[bytes]]:
    return {
        "whole": [data],
        "bytewise": [data[i : i + 1] for i in range(len(data))],
        "with empty chunks": [b"", *(c for b in cut(data, [3, 7]) for c in (b, b""))],
        "as given": sized(data, case.get("chunk_sizes") or []),
    }


@pytest.mark.parametrize("name", sorted(BY_ID))
def test_a_case_means_what_the_standard_says_however_it_is_cut(name):
    case, data = BY_ID[name], INPUTS[name]
    wanted = [(e["event"], e["data"], e["id"]) for e in case["expected"]]
    for how, chunks in cuttings(case, data).items():
        decoder = SSEDecoder()
        events = fed(decoder, chunks)
        found = [(e.event, e.data.decode("utf-8", "replace"), e.id) for e in events]
        assert found == wanted, how
        assert decoder.retry_ms == case["retry"], how


@given(name=st.sampled_from(SHORT), places=st.lists(st.integers(0, 5000), max_size=8))
def test_cutting_a_case_anywhere_never_changes_anything(name, places):
    data = INPUTS[name]
    assert everything(cut(data, places)) == everything([data])


WORDS = [
    *(b"data: x", b"data:y", b"data", b"data:", b": c", b":", b"id: 7", b"id", b"event: e"),
    *(b"retry: 5", b"retry: x", b"", b"", "data: é€😀".encode(), b"\xef\xbb\xbfdata: z", b"\xff"),
]
LINES = st.lists(
    st.builds(bytes.__add__, st.sampled_from(WORDS), st.sampled_from([b"\n", b"\r\n", b"\r"])),
    max_size=12,
)


@given(lines=LINES, tail=st.sampled_from([b"", b"data: t", b"da", b"\xef\xbb"]), data=st.data())
def test_cutting_any_stream_anywhere_never_changes_anything(lines, tail, data):
    stream = b"".join(lines) + tail
    places = data.draw(st.lists(st.integers(0, len(stream)), max_size=6))
    assert everything(cut(stream, places)) == everything([stream])


PLAIN = st.lists(st.sampled_from([b"data: x\n\n", b"data: \n\n", b"data:  y \n\n"]), max_size=4)
ODD = st.sampled_from(
    [b"", b"\n", b"\r\n\r\n", b"id: 7\n", b"event: e\n", b": c\n\n", b"data: z\n"]
)


def plain_or_fed(decoder: SSEDecoder, data: bytes) -> list[tuple[str, bytes]]:
    plain = decoder.plain(data)
    if plain is not None:
        return [("message", value) for value in plain]
    return [(event.event, event.data) for event in decoder.feed(data)]


@given(before=PLAIN, odd=ODD, after=PLAIN, last=ODD)
def test_what_is_plain_is_what_its_bytes_one_by_one_bring(before, odd, after, last):
    decoder, naive = SSEDecoder(), SSEDecoder()
    for read in (b"".join(before), odd, b"".join(after), last):
        one_by_one = fed(naive, [read[i : i + 1] for i in range(len(read))])
        assert plain_or_fed(decoder, read) == [(e.event, e.data) for e in one_by_one]
    assert everything_left(decoder) == everything_left(naive)


def everything_left(decoder: SSEDecoder) -> tuple[list[SSEEvent], int, int | None]:
    events = decoder.feed(b"data: t\n\n") + decoder.close()
    return events, decoder.comments, decoder.retry_ms


def test_whole_events_of_one_line_are_plain():
    assert SSEDecoder().plain(b"data: a\n\ndata:  b\n\n") == [b"a", b" b"]


@pytest.mark.parametrize(
    "data",
    [b"", b"data: a\n", b"data:a\n\n", b": c\n\n", b"data: a\ndata: b\n\n", b"data: a\r\n\n"],
)
def test_anything_else_is_not_plain(data):
    assert SSEDecoder().plain(data) is None


@pytest.mark.req("SEC-5")
def test_an_event_that_may_be_too_large_is_not_plain():
    assert SSEDecoder(max_event_bytes=100).plain(b"data: " + b"x" * 200 + b"\n\n") is None


@given(data=st.binary(max_size=200), places=st.lists(st.integers(0, 200), max_size=6))
def test_no_bytes_are_too_odd(data, places):
    assert everything(cut(data, places)) == everything([data])


@pytest.mark.parametrize("at", range(4))
def test_a_byte_order_mark_is_skipped_also_when_it_is_cut(at):
    stream = b"\xef\xbb\xbfdata: x\n\n"
    assert everything([stream[:at], stream[at:]])[0] == [SSEEvent(b"x")]


def test_a_second_byte_order_mark_is_part_of_the_text():
    assert everything([b"\xef\xbb\xbf\xef\xbb\xbfdata: x\n\n"])[0] == []


# -- the end of the body ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: a\n\ndata: b\n", [b"a", b"b"]),
        (b"data: a\n\ndata: b", [b"a", b"b"]),
        (b"data: a\r", [b"a"]),
        (b"data: a\n\n", [b"a"]),
        (b"data: a\ndata: b", [b"a\nb"]),
        (b"\xef\xbb\xbfdata: a", [b"a"]),
        (b"\xef\xbb\xbf", []),
        (b": only a comment", []),
        (b"event: x", []),
        (b"", []),
    ],
)
def test_close_gives_the_event_whose_blank_line_is_missing(stream, events):
    assert [event.data for event in everything([stream])[0]] == events


def test_close_keeps_name_and_id_of_the_last_event():
    decoder = SSEDecoder()
    assert decoder.feed(b"event: e\nid: 9\ndata: x") == []
    assert decoder.close() == [SSEEvent(b"x", "e", "9")]
    assert decoder.close() == []


# -- bounds -----------------------------------------------------------------------------


@pytest.mark.req("SEC-5")
@pytest.mark.parametrize(
    "chunks",
    [
        [b"data: " + b"x" * 200],
        [b"x" * 40] * 5,
        [b"data: x\n\n" + b"y" * 200],
        [b"data: " + b"x" * 200 + b"\n"],
        [b"data: xxxxxxxx\n"] * 20,
        [b"data:\n" * 200],
        [b"d\n" * 5 + b"data\n" * 200],
    ],
    ids=["a line", "a line in pieces", "after an event", "a whole line", "lines", "empty", "bare"],
)
def test_an_event_without_end_is_refused(chunks):
    decoder = SSEDecoder(max_event_bytes=100)
    with pytest.raises(EventTooLarge):
        fed(decoder, chunks)


@pytest.mark.req("SEC-5")
def test_the_last_line_can_be_the_one_too_many():
    decoder = SSEDecoder(max_event_bytes=100)
    assert decoder.feed(b"data: " + b"x" * 80 + b"\ndata: " + b"y" * 80) == []
    with pytest.raises(EventTooLarge):
        decoder.close()


@pytest.mark.req("SEC-5")
def test_a_long_stream_of_small_events_is_no_large_event():
    decoder = SSEDecoder(max_event_bytes=100)
    for _ in range(50):
        assert decoder.feed(b": ping\ndata: " + b"x" * 60 + b"\n\n") == [SSEEvent(b"x" * 60)]
    assert decoder.comments == 50


@pytest.mark.req("SEC-5")
def test_a_large_event_byte_by_byte_costs_its_length_and_not_its_square():
    def cost_s(size: int) -> float:
        line = b"data: " + b"x" * size + b"\n\n"
        decoder = SSEDecoder()
        before_s = time.process_time()
        events = [event for i in range(len(line)) for event in decoder.feed(line[i : i + 1])]
        assert [len(event.data) for event in events] == [size]
        return time.process_time() - before_s

    # Ten times the size: about 10 times the time when linear, 100 times when every byte copies all.
    assert cost_s(200_000) < 40 * max(cost_s(20_000), 0.005)
