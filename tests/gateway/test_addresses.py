"""Who is only this machine, and what can be an endpoint: the safe side of every doubt."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.addresses import (
    LOOPBACK,
    endpoint_fault,
    is_among,
    is_loopback,
    network,
    normal_endpoint,
)
from gateway.upstream.target import Target


@pytest.mark.req("SEC-1")
@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.255.0.3", "::1", "0:0:0:0:0:0:0:1", "localhost", "LocalHost"]
)
def test_only_this_machine_reaches_a_loopback_address(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.req("SEC-1")
@pytest.mark.parametrize(
    "host",
    [
        *("0.0.0.0", "::", "", "*", "10.0.0.1", "128.0.0.1", "fe80::1", "example.com"),
        # Names and spellings that somebody else may answer to.
        *("localhost.example.com", "127.0.0.1.example.com", "127.1", "2130706433", "0177.0.0.1"),
        *("127.0.0.1:80", "[::1]", " 127.0.0.1", "localhost\n"),
    ],
)
def test_what_may_be_another_machine_is_not_loopback(host: str) -> None:
    assert not is_loopback(host)


# -- whose address a peer's is --------------------------------------------------------------


@pytest.mark.req("SEC-2")
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not an address"),
        ("proxy", "not an address"),
        ("localhost", "not an address"),
        ("10.0.0.1:80", "not an address"),
        ("10.0.0.0/33", "not an address"),
        ("010.0.0.1", "not an address"),
        ("10.0.0.7/24", "the network is 10.0.0.0/24"),
        ("fd00::1/64", "the network is fd00::/64"),
        ("fe80::1%eth0", "a zone"),
    ],
)
def test_what_is_no_network_is_said(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        network(text)


@pytest.mark.req("SEC-2")
@given(bits=st.integers(0, 2**32 - 1), prefix=st.integers(0, 32), peer=st.integers(0, 2**32 - 1))
def test_ipv4_in_ipv6_clothes_is_what_it_is(bits: int, prefix: int, peer: int) -> None:
    plain = ipaddress.IPv4Network((bits, prefix), strict=False)
    dressed = network(f"::ffff:{plain.network_address}/{prefix + 96}")
    assert dressed == network(str(plain)) == plain
    address = ipaddress.IPv4Address(peer)
    for spelling in (str(address), f"::ffff:{address}", f"::FFFF:{peer >> 16:x}:{peer & 0xFFFF:x}"):
        assert is_among(spelling, [plain]) == (address in plain)


@pytest.mark.req("SEC-2")
@given(bits=st.integers(0, 2**128 - 1), prefix=st.integers(0, 128), peer=st.integers(0, 2**128 - 1))
def test_a_peer_is_of_a_network_whatever_interface_it_came_by(
    bits: int, prefix: int, peer: int
) -> None:
    around = ipaddress.IPv6Network((bits, prefix), strict=False)
    address = ipaddress.IPv6Address(peer)
    if address.ipv4_mapped is None:
        assert is_among(f"{address}%eth0", [around]) == (address in around)
    assert is_among(str(address), []) is False


@pytest.mark.req("SEC-2")
@given(peer=st.none() | st.text())
def test_what_is_no_address_is_of_no_network(peer: str | None) -> None:
    everything = [network("0.0.0.0/0"), network("::/0")]
    try:
        known = ipaddress.ip_address(peer or "")
    except ValueError:
        assert not is_among(peer, everything)
    else:
        assert is_among(peer, LOOPBACK) == known.is_loopback


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("http://h:1", "http://h:1"),
        ("http://h:1/", "http://h:1"),
        ("http://h:1/v1", "http://h:1"),
        ("http://h:1/v1//", "http://h:1"),
        ("http://h//v1", "http://h"),
        ("http://h/api/v1/", "http://h/api"),
        ("http://h/v1/models", "http://h/v1/models"),
        ("http://h/xv1", "http://h/xv1"),
        ("http://v1", "http://v1"),  # a host of that name
        ("http://v1/v1", "http://v1"),
    ],
)
def test_an_endpoint_ends_before_the_version(written: str, meant: str) -> None:
    assert normal_endpoint(written) == meant


HOSTS = st.sampled_from(["h", "v1", "10.0.0.1", "[::1]", "engine.example.com"])
PORTS = st.sampled_from(["", ":1", ":65535"])
PATHS = st.lists(st.sampled_from(["v1", "api", "", "a.b"]), max_size=3).map(
    lambda parts: "".join(f"/{part}" for part in parts)
)


@given(scheme=st.sampled_from(["http", "https"]), host=HOSTS, port=PORTS, path=PATHS)
def test_a_good_endpoint_stays_one_and_keeps_its_host(
    scheme: str, host: str, port: str, path: str
) -> None:
    url = f"{scheme}://{host}{port}{path}"
    assert endpoint_fault(url) == ""
    normal = normal_endpoint(url)
    assert endpoint_fault(normal) == ""
    assert not normal.endswith("/")
    there, meant = Target.parse(url), Target.parse(normal)
    assert (there.host, there.port, there.tls) == (meant.host, meant.port, meant.tls)


@pytest.mark.req("SEC-4")
@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://", "expected a URL"),
        ("https:///path", "expected a URL"),
        ("h:1", "expected a URL"),
        ("ftp://h", "expected a URL"),
        ("http://h:0", "expected a URL"),
        ("http://h:65536", "cannot be read"),
        ("http://h:eighty", "cannot be read"),
        ("http://[::1", "cannot be read"),
        ("http://h?key=1", "no query"),
        ("http://h/?", "no query"),  # what is put behind it would be one
        ("http://h#top", "no query"),
        ("http://h/#", "no query"),
        ("http://h /", "without blanks"),
        ("http://h\n", "without blanks"),
        ("http://h\u00e9", "ASCII"),
    ],
)
def test_what_is_wrong_with_an_endpoint_is_said(url: str, said: str) -> None:
    assert said in endpoint_fault(url)


@pytest.mark.req("SEC-3")
@pytest.mark.parametrize("user", ["sk-secret@", "sk-secret:@", "me:sk-secret@", ":sk-secret@"])
def test_credentials_are_refused_and_not_repeated(user: str) -> None:
    said = endpoint_fault(f"http://{user}h:1")
    assert "api_key" in said
    assert "sk-secret" not in said


@pytest.mark.req("SEC-3")
@given(rest=st.text())
def test_no_fault_quotes_the_url(rest: str) -> None:
    marked = f"http://\u2603{rest}"
    assert "\u2603" not in endpoint_fault(marked)
    assert endpoint_fault(marked) != ""


@given(url=st.text() | st.builds("http://{}".format, st.text()))
def test_any_text_is_an_endpoint_or_is_not(url: str) -> None:
    assert isinstance(endpoint_fault(url), str)
    assert normal_endpoint(normal_endpoint(url)) == normal_endpoint(url) or "/v1" in url


@given(host=st.text())
def test_any_text_is_loopback_or_is_not(host: str) -> None:
    assert is_loopback(host) in (True, False)
