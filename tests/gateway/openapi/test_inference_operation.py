"""Operations that a backend answers."""

import pytest

from contracts.openai_api import ChatRequest
from gateway.intake import SESSION_HEADER
from gateway.openapi.errors import INFERENCE
from gateway.openapi.headers import TOLD
from gateway.openapi.inference_operation import inference_operation


@pytest.mark.req("OPS-3")
def test_what_a_backend_answers_may_be_refused_by_it_and_tells_how_it_came_to_be() -> None:
    made = inference_operation("x", "X", ChatRequest, {}, "The answer.")
    assert set(TOLD) <= set(made["responses"]["200"]["headers"])
    assert made["responses"]["default"]["content"]["application/json"]
    assert {str(status) for status in INFERENCE} <= set(made["responses"])
    assert made["requestBody"]["required"] is True


def test_requests_of_a_session_may_say_so_where_there_are_sessions() -> None:
    made = inference_operation("x", "X", ChatRequest, {}, "The answer.")
    assert [parameter["name"] for parameter in made["parameters"]] == [SESSION_HEADER]
    alone = inference_operation("x", "X", ChatRequest, {}, "The answer.", session=False)
    assert "parameters" not in alone
