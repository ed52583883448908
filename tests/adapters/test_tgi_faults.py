import pytest

from adapters.openai_wire import ErrorPiece
from adapters.tgi_faults import class_of_tgi

pytestmark = pytest.mark.req("RUN-6")
LONG = "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 4000 and 200"
SHORT = "Input validation error: `inputs` must have less than 1024 tokens. Given: 2000"


@pytest.mark.parametrize("status", [None, 422])
@pytest.mark.parametrize(
    ("said", "fault"),
    [
        ("Model is overloaded", "overload"),
        (LONG, "context_length"),
        (SHORT, "context_length"),
        ("Input validation error: `temperature` must be strictly positive", "client"),
        ("Template error: unknown role", "client"),
        ("Tool error: Tool with name x not found", "client"),
        ("Request failed during generation: Server error: CUDA error", "upstream_bug"),
        ("Incomplete generation stream", "upstream_bug"),
    ],
)
def test_a_text_means_the_same_before_a_stream_and_inside_it(status, said, fault):
    assert class_of_tgi(ErrorPiece(message=said), status) == fault


@pytest.mark.parametrize(
    ("status", "fault"),
    [
        (401, "auth"),
        (404, "not_found"),
        (422, "client"),
        (424, "upstream_bug"),
        (429, "overload"),
        (500, "upstream_bug"),
        (503, "unavailable"),
        (None, "stream_broken"),
    ],
)
def test_without_a_text_the_status_decides(status, fault):
    assert class_of_tgi(ErrorPiece(), status) == fault
