"""What every controller offers the world."""

import pytest

from gateway.simulation.bodies import UNLIMITED, Body
from gateway.simulation.rival_body import RivalBody
from gateway.simulation.setpoint_body import SetpointBody
from gateway.simulation.trace import MAX_ROWS

pytestmark = pytest.mark.req("INT-12")


@pytest.mark.parametrize("kind", [SetpointBody, RivalBody])
def test_each_controller_offers_all_that_the_world_asks_for(kind: type) -> None:
    wanted = {name for name in vars(Body) if not name.startswith("_")} - {"queues"}
    assert wanted >= {"ask", "dispatched", "first_token", "ended", "turned_away", "tick", "sight"}
    assert all(hasattr(kind, name) for name in wanted)


def test_no_trace_has_more_requests_than_an_unlimited_queue_takes() -> None:
    assert UNLIMITED > MAX_ROWS
