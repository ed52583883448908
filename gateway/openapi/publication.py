"""Where the description is published: beside the Structs it comes from."""

from pathlib import Path

import contracts

FILE = "openapi.json"


def publish(document: bytes) -> None:
    """Write it."""
    _file().write_bytes(document)


def published() -> bytes:
    """What was written."""
    return _file().read_bytes()


def _file() -> Path:
    return Path(contracts.__file__).parent / FILE
