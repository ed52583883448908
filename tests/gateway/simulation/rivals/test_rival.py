"""What every rival keeps to, whatever happens to it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.simulation.rivals import Rival, make_rival

pytestmark = pytest.mark.req("INT-12")

NAMES = ("none", "static:7", "vegas", "gradient2", "envoy")
happenings = st.lists(
    st.tuples(
        st.sampled_from(["started", "finished", "tick"]),
        st.integers(0, 3),
        st.integers(1, 9),
        st.integers(1, 300),
        st.booleans(),
    ),
    max_size=200,
)


def lived(rival: Rival, happened: list[tuple[str, int, int, int, bool]]) -> list[float]:
    """The limits after each thing that happened."""
    now_s, limits = 0.0, []
    for what, later, rtt, inflight, ok in happened:
        now_s += later
        if what == "started":
            rival.started(now_s, inflight)
        elif what == "tick":
            rival.tick(now_s)
        else:
            rival.finished(now_s, float(rtt), inflight, ok)
        limits.append(rival.limit)
    return limits


@pytest.mark.parametrize("name", NAMES)
@given(happened=happenings)
def test_a_limit_is_at_least_one(
    name: str, happened: list[tuple[str, int, int, int, bool]]
) -> None:
    assert all(limit >= 1.0 for limit in lived(make_rival(name), happened))


@pytest.mark.parametrize("name", NAMES)
@given(happened=happenings)
def test_the_same_life_gives_the_same_limits(
    name: str, happened: list[tuple[str, int, int, int, bool]]
) -> None:
    assert lived(make_rival(name, 3), happened) == lived(make_rival(name, 3), happened)


def test_the_laws_that_adapt_get_setpoints_drop_rules_and_the_others_do_not() -> None:
    rules = {name: (make_rival(name).deadline_aware, make_rival(name).ttl_s) for name in NAMES}
    assert rules == {
        "none": (False, None),
        "static:7": (False, 60.0),
        "vegas": (True, None),
        "gradient2": (True, None),
        "envoy": (True, None),
    }
