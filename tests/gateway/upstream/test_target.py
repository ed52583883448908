"""An endpoint's URL: what it means, and what is said of a wrong one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.upstream.target import Target


def test_a_url_is_taken_apart():
    assert Target.parse("HTTPS://Example:8443/base/v1//") == Target(
        host="example", port=8443, tls=True, authority="example:8443", base_path="/base/v1"
    )


@pytest.mark.parametrize(
    ("url", "port", "tls"),
    [
        ("http://h", 80, False),
        ("https://h", 443, True),
        ("http://h:", 80, False),
        ("http://h:443", 443, False),
    ],
)
def test_the_scheme_gives_the_port_that_is_not_named(url, port, tls):
    target = Target.parse(url)
    assert (target.port, target.tls) == (port, tls)


def test_an_ipv6_address_is_dialled_bare_and_named_in_brackets():
    target = Target.parse("http://[::1]:8080/x")
    assert (target.host, target.authority) == ("::1", "[::1]:8080")
    assert Target.parse("http://[::1]").authority == "[::1]"


@pytest.mark.req("SEC-3")
@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("ftp://h", "http:// or https://"),
        ("http://", "names a host"),
        ("http:///path", "names a host"),
        ("http://exämple", "visible ASCII"),
        ("http://a\0b", "visible ASCII"),
        ("http://h/a b", "visible ASCII"),
        ("http://h\n:80", "visible ASCII"),
        ("http://u:pw℀@h", "visible ASCII"),
        ("http://h:0", "a port"),
        ("http://h:99999", "a port"),
        ("http://h:pw", "a port"),
        ("http://u:pw@h", "no credentials"),
        ("http://pw@h", "no credentials"),
        ("http://[u:pw@h]:80", "can be read"),
        ("http://[::1", "can be read"),
        ("http://h?a=pw", "no query"),
        ("http://h#pw", "no fragment"),
    ],
)
def test_a_url_that_is_no_endpoint_is_refused_without_showing_it(url, why):
    with pytest.raises(ValueError, match=why) as caught:
        Target.parse(url)
    assert "pw" not in str(caught.value)
    # A traceback in a log would show what came before, too.
    assert caught.value.__context__ is None or caught.value.__suppress_context__


PIECES = st.sampled_from(["http://", "https://", "h", ":", "80", "/", "[", "]", "@", "?", "#", "%"])


@pytest.mark.req("SEC-5")
@given(url=st.one_of(st.text(max_size=20), st.lists(PIECES, max_size=8).map("".join)))
def test_whatever_is_accepted_can_stand_in_a_request(url):
    try:
        target = Target.parse(url)
    except ValueError:
        return
    assert target.host
    assert 0 < target.port <= 65535
    for text in (target.authority, target.base_path):
        assert all("!" <= character <= "~" for character in text)
    assert not target.base_path.endswith("/")
    again = f"{'https' if target.tls else 'http'}://{target.authority}{target.base_path}"
    assert Target.parse(again) == target
