"""What is read of a head's bytes is what llhttp reads of them."""

import pytest
from httptools import HttpParserError, HttpResponseParser
from hypothesis import given
from hypothesis import strategies as st

from gateway.upstream.response_head import MAX_HEADERS, ResponseRefused, read_head

OK = b"HTTP/1.1 200 OK\r\n"


class Told:
    """A head as llhttp tells it."""

    def __init__(self):
        self.headers, self.done = {}, False

    def on_header(self, name, value):
        if not self.done:
            name, value = name.decode("latin-1").lower(), value.decode("latin-1").strip(" \t")
            had = self.headers.get(name)
            self.headers[name] = value if had is None else f"{had}, {value}"

    def on_headers_complete(self):
        self.done = True


PIECES = st.sampled_from(
    [
        b":",
        b"\r\n",
        b"\r",
        b"\n",
        b" ",
        b"\t",
        b"a",
        b"A",
        b"a: b\r\n",
        b"a:\xa0\r\n",
        b"\0",
        b"\x0b",
    ]
)


@pytest.mark.req("SEC-5", "OPS-4")
@given(first=st.sampled_from([OK, b"HTTP/1.0 404\r\n"]), rest=st.lists(PIECES, max_size=12))
def test_a_head_says_what_llhttp_reads_in_it(first, rest):
    told = Told()
    parser = HttpResponseParser(told)
    data = first + b"".join(rest) + b"\r\n\r\n"
    try:
        parser.feed_data(data)
    except HttpParserError:
        if not told.done:
            return  # and nobody asks what is in it
    head = read_head(data[: data.index(b"\r\n\r\n")])
    assert head.wire.headers == told.headers
    assert head.wire.status == parser.get_status_code()
    assert head.may_stay == (parser.get_http_version() == "1.1")


@pytest.mark.req("OPS-4")
def test_a_head_that_comes_again_is_not_read_again():
    assert read_head(OK + b"a: b") is read_head(OK + b"a: b")


@pytest.mark.req("SEC-5")
def test_what_is_refused_is_refused_again():
    for _ in range(2):
        with pytest.raises(ResponseRefused, match="headers"):
            read_head(OK + b"\r\n".join([b"a: b"] * (MAX_HEADERS + 1)))
