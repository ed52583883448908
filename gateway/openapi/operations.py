"""One operation, with what any path may answer."""

from collections.abc import Iterable

from gateway.openapi.errors import ANYWHERE
from gateway.openapi.references import Object

NO_TOKEN: list[Object] = []
"""No token is asked for."""


def operation_object(
    identifier: str,
    summary: str,
    answers: dict[int, Object],
    errors: Iterable[int] = (),
    *,
    tag: str = "operation",
    security: list[Object] | None = None,
) -> Object:
    """One operation; what any path may answer is added to its own `answers` and `errors`."""
    responses = {
        status: {"$ref": f"#/components/responses/{status}"} for status in (*errors, *ANYWHERE)
    }
    responses |= answers
    operation: Object = {
        "operationId": identifier,
        "summary": summary,
        "tags": [tag],
        "responses": {str(status): responses[status] for status in sorted(responses)},
    }
    if security is not None:
        operation["security"] = security
    return operation
