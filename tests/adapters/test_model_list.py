"""What a list of models says of its endpoint."""

import pytest

from adapters.dialect import EndpointState, WireHead
from adapters.model_list import state_by_list
from contracts.errors import UpstreamFault

pytestmark = pytest.mark.req("RUN-2", "ENG-2")


def state(status: int | None, *, always_there: bool = False) -> EndpointState:
    def fault(head: WireHead, body: bytes) -> UpstreamFault:
        return UpstreamFault("no", fault="auth" if body == b"your key" else "upstream_bug")

    found = None if status is None else (WireHead(status=status, headers={}), b"your key")
    if status is not None and status > 400:
        found = (WireHead(status=status, headers={}), b"oops")
    return state_by_list(found, fault, lambda body: (body.decode(),), always_there=always_there)


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (None, EndpointState(why="no answer")),
        (200, EndpointState(live=True, ready=True, why="ok", models=("your key",))),
        (400, EndpointState(live=True, why="it refuses the API key")),
        (500, EndpointState(live=True, why="its model list answers 500")),
    ],
)
def test_readiness_is_an_answer_and_a_wrong_key_is_told(
    status: int | None, told: EndpointState
) -> None:
    assert state(status) == told


@pytest.mark.parametrize("status", [404, 405, 501])
def test_who_answers_and_has_no_list_is_there_all_the_same(status: int) -> None:
    why = f"ok, though it has no model list ({status})"
    assert state(status) == EndpointState(live=True, ready=True, why=why, unlisted=True)


@pytest.mark.parametrize("status", [404, 405, 501])
def test_where_every_such_backend_has_a_list_it_is_something_else(status: int) -> None:
    why = f"its model list answers {status}"
    assert state(status, always_there=True) == EndpointState(live=True, why=why)
