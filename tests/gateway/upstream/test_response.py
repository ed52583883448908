"""Framing, without a socket: what each response means, wherever its bytes are cut."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.dialect import WireHead
from gateway.upstream.exchange import HttpExchange
from gateway.upstream.response import MAX_HEAD_BYTES, ResponseReader
from gateway.upstream.response_head import MAX_HEADERS, ResponseRefused

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"transfer-encoding: chunked\r\n\r\n"

ANSWERS = {
    # name: (bytes, status, data, how it ends when the peer then closes cleanly)
    "length": (OK + b"content-length: 5\r\n\r\nhello", 200, b"hello", "complete"),
    "length 0": (OK + b"content-length: 0\r\n\r\n", 200, b"", "complete"),
    "length, asked to close": (
        OK + b"connection: close\r\ncontent-length: 2\r\n\r\nhi",
        200,
        b"hi",
        "complete, close",
    ),
    "length, cut": (OK + b"content-length: 5\r\n\r\nhell", 200, b"hell", "body_cut"),
    "chunked": (CHUNKED + b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", 200, b"hello", "complete"),
    "chunked, upper case": (
        OK + b"Transfer-Encoding: CHUNKED\r\n\r\nA\r\n0123456789\r\n0\r\n\r\n",
        200,
        b"0123456789",
        "complete",
    ),
    "chunked, extensions and trailers": (
        CHUNKED + b'2;a=b;c="d"\r\nhi\r\n0;z\r\nx-t: 1\r\nx-u: 2\r\n\r\n',
        200,
        b"hi",
        "complete",
    ),
    "chunked, cut in a chunk": (CHUNKED + b"5\r\nhel", 200, b"hel", "body_cut"),
    "chunked, cut between chunks": (CHUNKED + b"2\r\nhi\r\n", 200, b"hi", "body_cut"),
    "chunked, cut before the last line": (CHUNKED + b"2\r\nhi\r\n0\r\n", 200, b"hi", "body_cut"),
    "until close, HTTP/1.1": (OK + b"\r\nhello", 200, b"hello", "ended"),
    "until close, HTTP/1.0": (b"HTTP/1.0 200 OK\r\na: b\r\n\r\nhello", 200, b"hello", "ended"),
    "until close, empty": (b"HTTP/1.0 200 OK\r\n\r\n", 200, b"", "ended"),
    "length, HTTP/1.0 keep-alive": (
        b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 1\r\n\r\nx",
        200,
        b"x",
        "complete, close",
    ),
    "no reason phrase": (b"HTTP/1.1 200\r\ncontent-length: 1\r\n\r\nx", 200, b"x", "complete"),
    "headers of every kind": (
        OK
        + b"Empty:\r\nX-A:1 \r\nx-a: \t2\r\nB: \xe9\r\nempty-too: \r\ncontent-length: 1\r\n\r\nx",
        200,
        b"x",
        "complete",
    ),
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b"", "complete"),
    "304 with a length": (b"HTTP/1.1 304 X\r\ncontent-length: 9\r\n\r\n", 304, b"", "complete"),
    "interim": (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: <x>\r\n\r\n"
        b"HTTP/1.1 500 Oops\r\ncontent-length: 2\r\n\r\nno",
        500,
        b"no",
        "complete",
    ),
    "interim, then gone": (b"HTTP/1.1 100 Continue\r\n\r\n", None, b"", "head_cut"),
    "nothing": (b"", None, b"", "no_answer"),
    "half a head": (OK + b"content-le", None, b"", "head_cut"),
    "a second answer": (
        OK + b"content-length: 2\r\n\r\nhi" + OK + b"content-length: 4\r\n\r\nevil",
        200,
        b"hi",
        "complete, close",
    ),
    "bytes after a length": (
        OK + b"content-length: 2\r\n\r\nhimore",
        200,
        b"hi",
        "complete, close",
    ),
    "bytes after the last chunk": (
        CHUNKED + b"2\r\nhi\r\n0\r\n\r\nx",
        200,
        b"hi",
        "complete, close",
    ),
    "bytes after a 204": (b"HTTP/1.1 204 X\r\n\r\nbody", 204, b"", "complete, close"),
    "bytes after an answer that closes": (
        OK + b"connection: close\r\ncontent-length: 2\r\n\r\nhi!",
        200,
        b"hi",
        "complete, close",
    ),
    "length and chunked": (
        OK + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        None,
        b"",
        "refused",
    ),
    "chunked and length": (
        OK + b"transfer-encoding: chunked\r\ncontent-length: 2\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        None,
        b"",
        "refused",
    ),
    "two lengths": (
        OK + b"content-length: 2\r\ncontent-length: 3\r\n\r\nhix",
        None,
        b"",
        "refused",
    ),
    "two lengths in one": (OK + b"content-length: 2, 2\r\n\r\nhi", None, b"", "refused"),
    "a negative length": (OK + b"content-length: -1\r\n\r\n", None, b"", "refused"),
    "a huge length": (OK + b"content-length: " + b"9" * 30 + b"\r\n\r\n", None, b"", "refused"),
    "another transfer coding": (OK + b"transfer-encoding: gzip\r\n\r\nx", None, b"", "refused"),
    "two transfer codings": (
        OK + b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        None,
        b"",
        "refused",
    ),
    "compressed": (
        OK + b"content-encoding: gzip\r\ncontent-length: 1\r\n\r\nx",
        None,
        b"",
        "refused",
    ),
    "a chunk size that is none": (CHUNKED + b"2\r\nhi\r\nzz\r\n", 200, b"hi", "refused"),
    "a chunk longer than it said": (CHUNKED + b"2\r\nhi!!\r\n", 200, b"hi", "refused"),
    "garbage": (b"SSH-2.0-OpenSSH_9.2\r\n", None, b"", "refused"),
    "a TLS alert": (b"\x15\x03\x01\x00\x02\x02\x46", None, b"", "refused"),
    "bare line feeds": (b"HTTP/1.1 200 OK\ncontent-length: 1\n\nx", None, b"", "refused"),
    "a folded header": (OK + b"a: b\r\n c\r\n\r\n", None, b"", "refused"),
    "a space before the colon": (OK + b"content-length : 1\r\n\r\nx", None, b"", "refused"),
    "HTTP/2.0": (b"HTTP/2.0 200 OK\r\n\r\nx", None, b"", "refused"),
    "RTSP, otherwise good": (
        b"RTSP/1.0 200 OK\r\na: HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx",
        None,
        b"",
        "refused",
    ),
    "line ends before it": (b"\r\n\r\n" + OK + b"\r\nx", None, b"", "refused"),
    "an interim response with a length": (
        b"HTTP/1.1 103 X\r\ncontent-length: 5\r\n\r\n" + OK + b"content-length: 1\r\n\r\nx",
        200,
        b"x",
        "complete",
    ),
    "RTSP": (b"RTSP/1.0 000 OK\r\n\r\nx", None, b"", "refused"),
    "status 42": (b"HTTP/1.1 042 OK\r\n\r\nx", None, b"", "refused"),
    "switching protocols": (
        b"HTTP/1.1 101 X\r\nconnection: upgrade\r\nupgrade: x\r\n\r\nhi",
        None,
        b"",
        "refused",
    ),
    "too many headers": (
        OK + b"a: b\r\n" * (MAX_HEADERS + 1) + b"content-length: 0\r\n\r\n",
        None,
        b"",
        "refused",
    ),
}


class Heard:
    def __init__(self):
        self.heads, self.data, self.pieces = [], b"", 0

    @property
    def head(self):
        assert len(self.heads) <= 1
        return self.heads[0] if self.heads else None

    def on_head(self, head: WireHead):
        self.heads.append(head)

    def on_data(self, data: bytes):
        assert self.head is not None
        self.data += data
        self.pieces += 1


def reader_of(exchange):
    reader = ResponseReader()
    reader.expect(exchange)
    return reader


def play(*pieces):
    """What a sink hears of `pieces` and then a clean close, and how it ends."""
    heard = Heard()
    reader = reader_of(HttpExchange(heard, b"request"))
    try:
        for piece in pieces:
            reader.feed(piece)
        if reader.complete:
            ending = "complete" if reader.reusable else "complete, close"
        else:
            ending = reader.at_close(clean=True)
    except ResponseRefused:
        ending = "refused"
    finally:
        reader.release()
    return heard.head, heard.data, ending


def in_short(head, data, ending):
    return head and head.status, data, ending


@pytest.mark.req("RUN-5", "RUN-6")
@pytest.mark.parametrize("name", ANSWERS)
def test_a_response_means_this(name):
    answer, *meaning = ANSWERS[name]
    assert in_short(*play(*[answer] if answer else [])) == tuple(meaning)


@pytest.mark.req("RUN-6", "SEC-5")
@pytest.mark.parametrize("name", ANSWERS)
def test_a_response_that_comes_byte_by_byte_means_the_same(name):
    answer, *meaning = ANSWERS[name]
    heard = play(*(answer[i : i + 1] for i in range(len(answer))))
    assert in_short(*heard) == tuple(meaning)
    assert not answer or heard == play(answer)


@pytest.mark.req("RUN-6", "OPS-4")
@given(names=st.lists(st.sampled_from(sorted(ANSWERS)), min_size=2, max_size=4), cut=st.integers(0))
def test_what_a_connection_has_read_changes_nothing_of_what_it_reads_next(names, cut):
    """As long as it may stay: its reader and parser are the same for all answers on it."""
    reader = ResponseReader()
    for name in names:
        answer = ANSWERS[name][0]
        heard, at = Heard(), cut % (len(answer) + 1)
        reader.expect(HttpExchange(heard, b""))
        try:
            for piece in filter(None, (answer[:at], answer[at:])):
                reader.feed(piece)
        except ResponseRefused:
            assert play(*filter(None, (answer[:at], answer[at:])))[2] == "refused"
            return
        ending = "complete" if reader.complete else reader.at_close(clean=True)
        if reader.complete and not reader.reusable:
            ending = "complete, close"
        assert (heard.head, heard.data, ending) == play(*filter(None, (answer[:at], answer[at:])))
        if not (reader.complete and reader.reusable):
            return


@pytest.mark.req("RUN-6", "SEC-5")
@given(name=st.sampled_from(sorted(ANSWERS)), cuts=st.lists(st.integers(0, 400), max_size=8))
def test_cutting_the_bytes_never_changes_what_the_sink_hears(name, cuts):
    answer = ANSWERS[name][0]
    edges = [0, *sorted(min(cut, len(answer)) for cut in cuts), len(answer)]
    pieces = [answer[a:b] for a, b in pairwise(edges) if a < b]
    assert not answer or play(*pieces) == play(answer)


@given(garbage=st.binary(min_size=1, max_size=80), after=st.sampled_from([b"", OK, CHUNKED]))
def test_no_bytes_raise_anything_but_a_refusal(garbage, after):
    play(after + garbage)


def test_header_names_are_lower_case_and_repeated_ones_joined():
    heard = Heard()
    reader = reader_of(HttpExchange(heard, b""))
    reader.feed(OK + b"X-A: 1\r\nx-a:2 \r\nB: \xe9\r\nempty:\r\ncontent-length: 0\r\n\r\n")
    assert heard.head == WireHead(
        status=200, headers={"x-a": "1, 2", "b": "é", "empty": "", "content-length": "0"}
    )


def test_headers_of_an_interim_response_are_not_those_of_the_answer():
    heard = Heard()
    reader = reader_of(HttpExchange(heard, b""))
    reader.feed(b"HTTP/1.1 103 X\r\nx-a: 1\r\n\r\n" + OK + b"content-length: 0\r\n\r\n")
    assert "x-a" not in heard.head.headers


def test_a_reset_never_ends_a_body_well():
    reader = reader_of(HttpExchange(Heard(), b""))
    reader.feed(OK + b"\r\nhello")
    assert reader.at_close(clean=True) == "ended"
    assert reader.at_close(clean=False) == "body_cut"


BIG = b"x" * (MAX_HEAD_BYTES + 1)
READ_BYTES = 256 * 1024  # what an event loop reads at once


@pytest.mark.req("SEC-5")
@pytest.mark.parametrize("size", [1000, READ_BYTES])
@pytest.mark.parametrize(
    "answer",
    [
        OK + b"a: " + BIG + b"\r\ncontent-length: 0\r\n\r\n",
        OK + BIG + b": a\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 " + BIG + b"\r\ncontent-length: 0\r\n\r\n",
        OK + b"a: " + BIG,
        b"HTTP/1.1 100 Continue\r\na: b\r\n\r\n" * 30_000,
        CHUNKED + b"2\r\nhi\r\n0\r\nt: " + BIG * 6,
        CHUNKED + b"2;" + BIG * 6,
    ],
    ids=["value", "name", "reason", "no end", "interims", "trailer", "chunk extension"],
)
def test_what_is_not_body_is_bounded(answer, size):
    pieces = [answer[i : i + size] for i in range(0, len(answer), size)]
    assert play(*pieces)[2] == "refused"


def test_a_body_may_be_as_large_as_it_likes():
    assert in_short(*play(OK + b"content-length: %d\r\n\r\n" % len(BIG), BIG)) == (
        200,
        BIG,
        "complete",
    )
    many = b"1\r\nx\r\n" * MAX_HEAD_BYTES
    assert in_short(*play(CHUNKED, many, many, b"0\r\n\r\n")) == (
        200,
        b"x" * 2 * MAX_HEAD_BYTES,
        "complete",
    )


def test_each_chunk_reaches_the_sink_within_the_call_that_brought_it():
    heard = Heard()
    reader = reader_of(HttpExchange(heard, b""))
    reader.feed(CHUNKED)
    for count in range(1, 5):
        reader.feed(b"1\r\nx\r\n")
        assert heard.pieces == count


def test_chunks_that_came_in_one_read_reach_the_sink_in_one_piece():
    heard = Heard()
    reader = reader_of(HttpExchange(heard, b""))
    reader.feed(CHUNKED + b"1\r\na\r\n2\r\nbc\r\n")
    assert (heard.data, heard.pieces) == (b"abc", 1)


@pytest.mark.req("SEC-5")
def test_what_was_good_of_a_read_is_heard_before_the_read_is_refused():
    heard = Heard()
    reader = reader_of(HttpExchange(heard, b""))
    with pytest.raises(ResponseRefused):
        reader.feed(CHUNKED + b"1\r\na\r\n1\r\nb\r\nzz\r\n")
    assert heard.data == b"ab"


def test_an_exchange_cancelled_within_a_read_hears_nothing_more_of_it():
    class Leaver(Heard):
        def on_head(self, head):
            super().on_head(head)
            exchange.cancel()

    heard = Leaver()
    exchange = HttpExchange(heard, b"")
    reader = reader_of(exchange)
    reader.feed(CHUNKED + b"1\r\na\r\n0\r\n\r\n")
    assert (heard.head.status, heard.data) == (200, b"")
