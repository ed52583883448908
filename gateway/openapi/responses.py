"""One answer: what it means, its headers, what is in it."""

from collections.abc import Iterable

from gateway.openapi.headers import header_references
from gateway.openapi.references import Object


def response_object(
    text: str, content: Object, *, headers: Iterable[str] = ("x-request-id",)
) -> Object:
    return {"description": text, "headers": header_references(headers), "content": content}
