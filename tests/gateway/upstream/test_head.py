"""What goes on the wire, byte for byte."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.dialect import WireRequest
from gateway.upstream.head import KEPT, NEVER_SENT, RequestEncoder
from gateway.upstream.target import Target


def encode(url="http://h:1/base/", *, method="POST", path="/p", headers=(), body=b""):
    request = WireRequest(method=method, path=path, headers=tuple(headers), body=body)
    return RequestEncoder(Target.parse(url)).encode(request)


def test_a_request_is_exactly_these_bytes():
    assert encode(headers=[("X-A", "b"), ("authorization", "Bearer k")], body=b"{}") == (
        b"POST /base/p HTTP/1.1\r\nhost: h:1\r\naccept-encoding: identity\r\n"
        b"X-A: b\r\nauthorization: Bearer k\r\ncontent-length: 2\r\n\r\n{}"
    )


def test_an_empty_body_has_a_length_too():
    assert encode(method="GET").endswith(b"content-length: 0\r\n\r\n")


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://example", "example"),
        ("http://Example:80/v1", "example"),
        ("http://example:8080", "example:8080"),
        ("https://example:443", "example"),
        ("https://example:80", "example:80"),
        ("http://127.0.0.1:9", "127.0.0.1:9"),
        ("http://[::1]", "[::1]"),
        ("http://[::1]:8080/x", "[::1]:8080"),
    ],
)
def test_the_host_header_is_the_authority_of_the_url(url, host):
    assert f"\r\nhost: {host}\r\n".encode() in encode(url)


@pytest.mark.parametrize(
    ("url", "path"),
    [("http://h", "/p"), ("http://h/", "/p"), ("http://h/a/b", "/a/b/p"), ("http://h/a/", "/a/p")],
)
def test_the_base_path_stays_in_front(url, path):
    assert encode(url).startswith(f"POST {path} HTTP/1.1\r\n".encode())


@pytest.mark.req("SEC-5")
@pytest.mark.parametrize("name", sorted(NEVER_SENT))
def test_headers_of_the_connection_are_never_taken_from_a_request(name):
    sent = encode(headers=[(name.title(), "given by the caller")])
    assert b"given by the caller" not in sent


def test_a_percent_sign_anywhere_is_just_that():
    sent = encode("http://h/%20", path="/%s%%", headers=[("%d%", "%s"), ("Te", "%")], method="%")
    assert sent.startswith(b"% /%20/%s%% HTTP/1.1\r\n")
    assert b"\r\n%d%: %s\r\ncontent-length: 0\r\n" in sent


@pytest.mark.req("SEC-5")
@pytest.mark.parametrize("bad", ["a\r\nx: y", "a\nb", "a\rb", "a\0b", "\x7f", "\x1b[31m", "…"])
def test_a_value_that_could_end_its_line_is_refused_and_not_shown(bad):
    with pytest.raises(ValueError, match="'x-a'") as caught:
        encode(headers=[("x-a", f"secret{bad}")])
    assert "secret" not in str(caught.value)


@pytest.mark.req("SEC-5")
@pytest.mark.parametrize("bad", ["", "a b", "a:", "a\r\nb", "é"])
def test_a_name_that_is_no_token_is_refused(bad):
    with pytest.raises(ValueError, match="header name"):
        encode(headers=[(bad, "x")])


@pytest.mark.req("SEC-5")
@pytest.mark.parametrize(
    "bad", [{"path": "/a b"}, {"path": "/a\r\n"}, {"path": "a"}, {"path": ""}, {"method": "GET /"}]
)
def test_a_path_or_method_that_could_start_another_request_is_refused(bad):
    with pytest.raises(ValueError, match="visible ASCII"):
        encode(**bad)


@pytest.mark.req("SEC-5")
@given(value=st.text(max_size=30))
def test_no_header_value_adds_a_line(value):
    try:
        sent = encode(headers=[("x-a", value)])
    except ValueError:
        return
    assert sent.count(b"\r\n") == sent.count(b"\n") == sent.count(b"\r") == 6


few = st.sampled_from(["a", "b", "te", "A", "%s", "x y", "a\r\nb: c", "GET", "/p"])


def sent_or_said(encoder, request):
    try:
        return encoder.encode(request)
    except ValueError as exc:
        return str(exc)


@pytest.mark.req("OPS-4", "SEC-5")
@given(
    asked=st.lists(
        st.builds(
            WireRequest,
            method=st.sampled_from(["GET", "POST", "a b"]),
            path=st.sampled_from(["/p", "/q", "p"]),
            headers=st.lists(st.tuples(few, few), max_size=4).map(tuple),
            body=st.sampled_from([b"", b"{}"]),
        ),
        max_size=6,
    )
)
def test_a_request_is_the_same_whatever_was_sent_before(asked):
    encoder = RequestEncoder(Target.parse("http://h:1/base/"))
    for request in asked:
        fresh = RequestEncoder(Target.parse("http://h:1/base/"))
        assert sent_or_said(encoder, request) == sent_or_said(fresh, request)


@pytest.mark.req("OPS-4")
def test_what_is_remembered_is_bounded_and_begins_again():
    encoder = RequestEncoder(Target.parse("http://h"))
    for number in range(2 * KEPT + 1):
        told = (("accept", "a"), ("x-request-id", f"req-{number}"))
        sent = encoder.encode(WireRequest(method="GET", path=f"/{number}", headers=told))
        assert f"GET /{number} HTTP/1.1\r\n".encode() in sent
        assert f"accept: a\r\nx-request-id: req-{number}\r\n".encode() in sent
        assert encoder.remembered <= 2 * KEPT
