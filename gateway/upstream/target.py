"""An endpoint's URL, taken apart once: where to dial, what `Host` to name, what path to put in front.

Its texts may hold an address, so none of them may end in an error that a client sees.
"""

import re
from urllib.parse import urlsplit

import msgspec

_is_visible = re.compile(r"[!-~]*").fullmatch
_DEFAULT_PORTS = {"http": 80, "https": 443}


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """`base_path` has no slash at its end; `authority` is the `Host` header (RFC 9110, section 7.2)."""

    host: str
    port: int
    tls: bool
    authority: str
    base_path: str

    @classmethod
    def parse(cls, url: str) -> "Target":
        """Raises ValueError saying what is wrong, without the URL: it may hold a password."""
        if not _is_visible(url):  # `urlsplit` would pass over line breaks
            raise ValueError("an endpoint URL consists of visible ASCII characters")
        try:
            parts = urlsplit(url)
        except ValueError:  # its message quotes the host, and what stands before an @
            raise ValueError("an endpoint URL has a host that can be read") from None
        if parts.scheme not in _DEFAULT_PORTS:
            raise ValueError("an endpoint URL starts with http:// or https://")
        if not parts.hostname:
            raise ValueError("an endpoint URL names a host")
        if parts.username is not None or parts.password is not None:
            raise ValueError("an endpoint URL carries no credentials: set api_key")
        if parts.query or parts.fragment:
            raise ValueError("an endpoint URL has no query and no fragment")
        default_port = _DEFAULT_PORTS[parts.scheme]
        try:
            port = default_port if parts.port is None else parts.port
        except ValueError:
            port = 0
        if port == 0:
            raise ValueError("an endpoint URL has a port from 1 to 65535")
        shown_host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        return cls(
            host=parts.hostname,
            port=port,
            tls=parts.scheme == "https",
            authority=shown_host if port == default_port else f"{shown_host}:{port}",
            base_path=parts.path.rstrip("/"),
        )
