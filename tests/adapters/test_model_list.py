"""What a list of models says of its endpoint."""

import pytest

from adapters.dialect import EndpointState, WireHead
from adapters.model_list import state_by_list
from contracts.errors import UpstreamFault

pytestmark = pytest.mark.req("RUN-2", "ENG-2")


def state(status: int | None) -> EndpointState:
    def fault(head: WireHead, body: bytes) -> UpstreamFault:
        return UpstreamFault("no", fault="auth" if body == b"your key" else "upstream_bug")

    found = None if status is None else (WireHead(status=status, headers={}), b"your key")
    if status == 500:
        found = (WireHead(status=500, headers={}), b"oops")
    return state_by_list(found, fault, lambda body: (body.decode(),))


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
