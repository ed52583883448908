"""The two that learn nothing."""

from math import inf

import pytest

from gateway.simulation.rivals.fixed import static, unlimited

pytestmark = pytest.mark.req("INT-12")


def test_a_fixed_limit_does_not_move_whatever_happens() -> None:
    for rival, limit in ((unlimited(), inf), (static(43), 43.0)):
        rival.started(0.0, 99)
        rival.finished(1.0, 50.0, 99, False)
        rival.tick(2.0)
        assert rival.limit == limit


def test_a_static_limit_carries_the_timeout_that_llmd_ships() -> None:
    assert (static(43).name, static(43).ttl_s, unlimited().ttl_s) == ("static:43", 60.0, None)
