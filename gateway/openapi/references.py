"""References to the named schemas of the description."""

from typing import Any

import msgspec

Object = dict[str, Any]
"""A JSON object."""


def reference(kind: type[msgspec.Struct]) -> Object:
    return reference_to(kind.__name__)


def reference_to(name: str) -> Object:
    return {"$ref": f"#/components/schemas/{name}"}
