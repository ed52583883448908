"""Which addresses are loopback, and which URLs can be a backend's. Pure; nothing is looked up."""

import ipaddress
from urllib.parse import urlsplit


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`. A name other than localhost may be anything."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


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
