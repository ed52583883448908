"""Sessions stay where their beginning is cached, as long as that is there and has room; never more than a bound
of them are remembered."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from policies.affinity import UNTOLD_LEAD, Session, Sessions, SessionSettings, prefer

pytestmark = pytest.mark.req("ADM-7")

TOLD = 64


class State(msgspec.Struct, frozen=True):
    slots: int | None


class Load(msgspec.Struct):
    """One endpoint; a third of what it has to do is others'."""

    index: int
    inflight: int
    elsewhere: int
    state: State

    @property
    def busy(self) -> int:
        return self.inflight + self.elsewhere


def load(index: int, busy: int, slots: int | None = 4) -> Load:
    return Load(index, busy - busy // 3, busy // 3, State(slots))


def chosen_of(home: int | None, loads: list[Load]) -> int:
    return prefer(home, loads, told_slots=TOLD).index


NAMES = st.sampled_from([("pool", "ann", "a"), ("pool", "bob", "a"), ("other", "ann", "a")])
LOADS = st.lists(
    st.tuples(st.integers(0, 12), st.one_of(st.none(), st.integers(1, 4))), min_size=1, max_size=5
).map(lambda told: [load(index, busy, slots) for index, (busy, slots) in enumerate(told)])


def share(one: Load) -> float:
    return one.busy / (one.state.slots or TOLD)


# -- which endpoint ---------------------------------------------------------------------


def test_a_session_goes_where_it_was_as_long_as_a_slot_is_free_there() -> None:
    assert chosen_of(1, [load(0, 0), load(1, 3)]) == 1
    assert chosen_of(1, [load(0, 3), load(1, 4)]) == 0


def test_an_endpoint_that_tells_no_slots_may_be_a_few_requests_ahead() -> None:
    ahead = [load(0, 2, None), load(1, 2 + UNTOLD_LEAD, None)]
    assert chosen_of(1, ahead) == 1
    assert chosen_of(1, [ahead[0], load(1, 3 + UNTOLD_LEAD, None)]) == 0


def test_a_home_that_is_not_ready_is_not_waited_for() -> None:
    assert chosen_of(7, [load(0, 3), load(1, 2)]) == 1


def test_without_a_session_the_least_loaded_is_taken_and_of_equals_the_first() -> None:
    assert chosen_of(None, [load(2, 1), load(1, 1), load(0, 2)]) == 1


@given(loads=LOADS, home=st.one_of(st.none(), st.integers(0, 5)), order=st.randoms())
def test_the_choice_is_home_or_the_least_loaded_whatever_the_order(loads, home, order) -> None:
    chosen = chosen_of(home, loads)
    shuffled = list(loads)
    order.shuffle(shuffled)
    assert chosen_of(home, shuffled) == chosen
    least = min(loads, key=lambda e: (share(e), e.index))
    assert chosen in (home, least.index)
    by_number = {one.index: one for one in loads}
    slots = by_number[chosen].state.slots
    if chosen != least.index and slots is not None:
        assert by_number[chosen].busy < slots


@given(
    loads=LOADS.filter(lambda loads: any(one.state.slots for one in loads)), home=st.integers(0, 4)
)
def test_no_session_is_sent_to_a_full_endpoint_while_another_one_has_room(loads, home) -> None:
    told = [one for one in loads if one.state.slots is not None]
    chosen = chosen_of(home, told)
    if any(one.busy < one.state.slots for one in told):
        assert any(one.index == chosen and one.busy < one.state.slots for one in told)


# -- what is remembered -----------------------------------------------------------------


def test_a_session_is_its_callers_own() -> None:
    sessions = Sessions()
    sessions.served(("pool", "ann", "a"), 1, 0.0)
    assert sessions.home(("pool", "ann", "a"), 1.0) == 1
    assert sessions.home(("pool", "bob", "a"), 1.0) is None
    assert sessions.home(("other", "ann", "a"), 1.0) is None


def test_a_session_that_moved_lives_where_it_was_served_last() -> None:
    sessions = Sessions()
    for endpoint in (0, 1):
        sessions.served(("pool", "", "a"), endpoint, 0.0)
    assert sessions.home(("pool", "", "a"), 0.0) == 1


def test_nothing_is_remembered_with_a_ttl_of_nought() -> None:
    sessions = Sessions(SessionSettings(ttl_s=0.0))
    sessions.served(("pool", "", "a"), 0, 5.0)
    assert sessions.home(("pool", "", "a"), 5.0) is None
    assert len(sessions) == 0


class Remembering(RuleBasedStateMachine):
    """Against a plain list of what happened."""

    TTL_S, MAX = 5, 2

    def __init__(self) -> None:
        super().__init__()
        self.sessions = Sessions(SessionSettings(ttl_s=self.TTL_S, max_sessions=self.MAX))
        self.now_s = 0
        self.told: list[tuple[Session, int, int]] = []

    @rule(seconds=st.integers(0, 4))
    def time_goes_by(self, seconds: int) -> None:
        self.now_s += seconds

    @rule(session=NAMES, endpoint=st.integers(0, 3))
    def a_request_is_dispatched(self, session: Session, endpoint: int) -> None:
        self.sessions.served(session, endpoint, self.now_s)
        self.told.append((session, endpoint, self.now_s))

    @invariant()
    def the_latest_ones_are_known_and_no_others(self) -> None:
        last: dict[Session, tuple[int, int]] = {}
        for session, endpoint, at_s in self.told:
            last.pop(session, None)
            last[session] = endpoint, at_s
        known = dict(list(last.items())[-self.MAX :])
        for session in last:
            endpoint, at_s = known.get(session, (None, -self.TTL_S))
            wanted = endpoint if self.now_s - at_s < self.TTL_S else None
            assert self.sessions.home(session, self.now_s) == wanted
        assert len(self.sessions) <= self.MAX


TestRemembering = Remembering.TestCase


@pytest.mark.req("ENG-3")
def test_a_pool_that_is_reloaded_is_nobodys_home_and_others_stay() -> None:
    sessions = Sessions()
    for pool in ("a", "b"):
        for name in ("x", "y"):
            sessions.served((pool, "me", name), 1, 0.0)
    sessions.forget("a")
    assert sessions.home(("a", "me", "x"), 0.0) is None
    assert sessions.home(("b", "me", "x"), 0.0) == 1
    assert len(sessions) == 2
