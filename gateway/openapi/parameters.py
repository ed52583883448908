"""What is given to an operation beside its body."""

from typing import Any

from gateway.openapi.references import Object


def path_parameter(name: str, text: str) -> Object:
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": text,
        "schema": {"type": "string"},
    }


def header_parameter(name: str, text: str) -> Object:
    return {"name": name, "in": "header", "description": text, "schema": {"type": "string"}}


def query_parameter(
    name: str, text: str, kind: str = "integer", **bounds: int | str | list[Any]
) -> Object:
    """`bounds` are JSON Schema's: without them the description would promise more than is taken."""
    schema = {"type": kind, **bounds}
    return {"name": name, "in": "query", "description": text, "schema": schema}
