"""Which addresses are loopback, whose a peer's is, and which URLs can be a backend's. Pure; nothing is
looked up."""

import ipaddress
from collections.abc import Iterable
from urllib.parse import urlsplit

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
LOOPBACK: tuple[Network, ...] = (
    ipaddress.IPv4Network("127.0.0.0/8"),
    ipaddress.IPv6Network("::1/128"),
)
_MAPPED_BITS = 96
"""Of an IPv6 address, before the IPv4 address that it stands for."""


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`. A name other than localhost may be anything."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def network(text: str) -> Network:
    """An address, or a network as `10.0.0.0/24`. IPv4 in IPv6 clothes counts as what it is.

    Raises ValueError, in words for the operator; a host name is one.
    """
    try:
        found = ipaddress.ip_network(text)
    except ValueError as exc:
        try:
            around = ipaddress.ip_network(text, strict=False)
        except ValueError:
            raise ValueError("not an address, and not a network such as 10.0.0.0/24") from exc
        raise ValueError(f"an address within a network: the network is {around}") from exc
    if isinstance(found, ipaddress.IPv6Network):
        if found.network_address.scope_id is not None:
            raise ValueError("a zone such as %eth0 has no meaning here")
        mapped = found.network_address.ipv4_mapped
        if mapped is not None and found.prefixlen >= _MAPPED_BITS:
            return ipaddress.IPv4Network((mapped, found.prefixlen - _MAPPED_BITS))
    return found


def is_among(peer: str | None, networks: Iterable[Network]) -> bool:
    """Whether a socket's peer is of one of these. IPv4 in IPv6 clothes counts as what it is, and on
    which interface it came does not matter. What is no address is of none."""
    try:
        address = ipaddress.ip_address(peer or "")
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address in known for known in networks)


def normal_endpoint(url: str) -> str:
    """Without a trailing slash, and without the `/v1` that dialects add themselves."""
    bare = url.rstrip("/")
    if "/" not in bare.partition("://")[2]:  # no path: a host may be called v1
        return bare
    return bare.removesuffix("/v1").rstrip("/")


def endpoint_fault(url: str) -> str:
    """What is wrong with an endpoint's URL; "" if nothing is. Never quotes it."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "not a URL: its host or port cannot be read"
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        return "expected a URL such as http://127.0.0.1:8081"
    if parts.username is not None or parts.password is not None:
        return "a URL with credentials would show in logs; use api_key"
    if "?" in url or "#" in url:  # also empty ones: a path is put behind
        return "an endpoint has no query and no fragment"
    if not url.isascii() or not url.isprintable() or " " in url:
        return "a URL is printable ASCII without blanks"
    return ""
