"""Operations."""

import pytest

from gateway.openapi.operations import NO_TOKEN, operation_object
from tests.support.described import operations


@pytest.mark.req("OPS-3")
def test_any_path_may_answer_that_there_is_a_bug() -> None:
    for path, method, operation in operations():
        assert {"400", "405", "431", "500", "503"} <= set(operation["responses"]), (path, method)


@pytest.mark.req("OPS-3")
def test_no_two_operations_have_one_name() -> None:
    names = [operation["operationId"] for _, _, operation in operations()]
    assert len(names) == len(set(names))


@pytest.mark.req("SEC-2")
def test_only_probes_and_the_description_ask_for_no_token() -> None:
    assert {
        path for path, _, operation in operations() if operation.get("security") == NO_TOKEN
    } == {
        "/livez",
        "/readyz",
        "/health",
        "/openapi.json",
    }


def test_an_answer_of_its_own_replaces_the_shared_one() -> None:
    own = {"description": "Not yet."}
    made = operation_object("x", "X", {503: own}, (404,))
    assert made["responses"]["503"] == own
    assert made["responses"]["404"] == {"$ref": "#/components/responses/404"}
    assert list(made["responses"]) == sorted(made["responses"])
    assert "security" not in made
