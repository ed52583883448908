import pytest

from adapters.openai_wire import ErrorPiece
from adapters.triton_faults import class_of_triton, error_in

pytestmark = pytest.mark.req("RUN-6")


@pytest.mark.parametrize(
    ("status", "by_model", "said", "fault"),
    [
        (404, False, "Request for unknown model: 'nope' is not found", "not_found"),
        (400, False, "Request for unknown model: 'x' has no available versions", "not_found"),
        (400, False, "Model version not ready", "not_found"),
        (400, False, "missing required input(s) ['text_input']", "client"),
        (500, False, "failed to parse the request JSON buffer: Invalid value. at 14", "client"),
        (500, False, "Unable to parse 'data': attempt to access JSON non-boolean", "client"),
        (500, False, "attempt to get members for non-object", "client"),
        (500, False, "anything", "upstream_bug"),
        (501, False, "not supported", "client"),
        (503, False, "[request id: 1] Exceeds maximum queue size", "overload"),
        (503, False, "Request timeout expired", "overload"),
        (503, False, "Server exiting", "unavailable"),
        (401, False, "", "auth"),
        (400, True, "boom before", "upstream_bug"),
        (400, True, "Prompt length (9) exceeds maximum input length (5)", "context_length"),
        (None, False, "boom mid-stream", "upstream_bug"),
        (None, False, "maximum context length is 9", "context_length"),
    ],
)
def test_what_is_said_and_by_whom_decides(status, by_model, said, fault):
    found = ErrorPiece(message=said)
    assert class_of_triton(found, status, by_model=by_model) == fault


@pytest.mark.parametrize(
    "body",
    [b'{"error":"boom"}', b'data: {"error":"boom"}\n\n', b'data:{"error":"boom"}\n\ndata: x\n\n'],
)
def test_an_error_is_read_out_of_both_forms(body):
    found = error_in(body)
    assert found is not None
    assert found.message == "boom"


@pytest.mark.parametrize("body", [b"", b"data:", b"data: {", b"<html>", b"\xff"])
def test_nonsense_is_no_error(body):
    assert error_in(body) is None
