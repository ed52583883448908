"""`sqlite:///var/setpoint.db` or `postgresql://user:password@host/database`, read and checked.

Text in, values out: nothing is opened, and SQLAlchemy is not needed. No message quotes the URL, since the
password may stand anywhere in one that is wrong.
"""

from pathlib import Path
from urllib.parse import unquote, urlsplit

import msgspec

from gateway.secrets import MASK, SecretValue

SPELLING = "sqlite:///path/to/file.db or postgresql://user:password@host/database"


class DatabaseUrl(msgspec.Struct, frozen=True, kw_only=True):
    """Where the records go. `file` is SQLite's, resolved; None means PostgreSQL."""

    url: SecretValue
    """All of it, as a driver for PostgreSQL reads it."""
    shown: str
    """For people, without the password."""
    password: SecretValue | None = None
    file: Path | None = None


def parse(text: str, base_dir: Path) -> DatabaseUrl:
    """Read a URL; a relative path of SQLite starts from `base_dir`. Raises ValueError, saying what to write."""
    scheme, colon, rest = text.partition("://")
    if not text.isprintable() or not colon:
        raise ValueError(f"expected {SPELLING}")
    match scheme:
        case "sqlite":
            return _sqlite(rest, base_dir)
        case "postgresql" | "postgres":
            return _postgresql(text)
    raise ValueError(f"expected {SPELLING}")


def _sqlite(rest: str, base_dir: Path) -> DatabaseUrl:
    path = rest.removeprefix("/")
    if not rest.startswith("/") or path in ("", ":memory:") or path.endswith("/"):
        raise ValueError(
            "SQLite needs a file: three slashes before a relative path, four before an absolute one"
        )
    if "?" in path:
        raise ValueError("SQLite's URL takes no options")
    file = base_dir / path
    shown = f"sqlite:///{file}"
    return DatabaseUrl(url=SecretValue(shown), shown=shown, file=file)


def _postgresql(text: str) -> DatabaseUrl:
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        parts = None
    if parts is None or parts.fragment or len(parts.path) < 2 or "/" in parts.path[1:]:
        raise ValueError(
            "expected postgresql://user:password@host/database; "
            "a password with one of / ? # % in it is to be percent-encoded"
        )
    credentials, at, host = parts.netloc.rpartition("@")
    user, colon, password = credentials.partition(":")
    if "password=" in parts.query:
        raise ValueError("the password stands before the host: postgresql://user:password@host/...")
    netloc = f"{user}:{MASK}{at}{host}" if colon and password else parts.netloc
    options = f"?{parts.query}" if parts.query else ""
    shown = f"{parts.scheme}://{netloc}{parts.path}{options}"
    return DatabaseUrl(
        url=SecretValue(text),
        shown=shown,
        password=SecretValue(unquote(password)) if password else None,
    )
