"""Where the description is published: beside the Structs it comes from."""

from pathlib import Path

import contracts
from gateway.openapi.description import document

FILE = "openapi.json"


def publish() -> None:
    """Write it."""
    (Path(contracts.__file__).parent / FILE).write_bytes(document())
