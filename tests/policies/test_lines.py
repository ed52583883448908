"""Lines of those who wait, against the plainest model there is: a list that is searched."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from policies.fairness import TokenCounters
from policies.lines import Lines, Ticket, Waiter

pytestmark = pytest.mark.req("ADM-2", "ADM-5")

INF = float("inf")
DEADLINES = st.sampled_from([None, 0, 1, 2, 3])


def due(ticket: Ticket) -> float:
    return INF if ticket.deadline_s is None else ticket.deadline_s


class Band:
    """Lines of one lane, with counters for each band that tests can set."""

    def __init__(self) -> None:
        self.counters: dict[int, TokenCounters] = {}
        self.lines = Lines(lambda priority: self.counters.setdefault(priority, TokenCounters()))
        self.orders = 0

    def add(
        self,
        caller: str = "",
        deadline_s: float | None = None,
        priority: int = 0,
        since_s: float = 0.0,
        request: int | None = None,
        patient: bool = False,
    ) -> Waiter:
        self.orders += 1
        ticket = Ticket(
            request=self.orders if request is None else request,
            caller=caller,
            priority=priority,
            deadline_s=deadline_s,
            patient=patient,
        )
        waiter = Waiter(ticket, since_s, self.orders)
        self.lines.push(waiter)
        return waiter

    def served(self, caller: str, tokens: float, priority: int = 0) -> None:
        self.counters.setdefault(priority, TokenCounters()).charge(caller, tokens)

    def next(self, priority: int = 0, slack: float = 0.0) -> int | None:
        waiter = self.lines.next(priority, slack)
        return None if waiter is None else waiter.ticket.request

    def order(self, priority: int = 0, slack: float = 0.0) -> list[int]:
        """Everybody of a band, as they would go if nobody was charged for anything."""
        gone = []
        while (waiter := self.lines.next(priority, slack)) is not None:
            gone.append(waiter.ticket.request)
            self.lines.remove(waiter.ticket)
        return gone


@given(deadlines=st.lists(DEADLINES, max_size=12))
def test_inside_a_caller_the_earliest_deadline_goes_first_and_equals_in_order_of_arrival(
    deadlines: list[int | None],
) -> None:
    band = Band()
    waiters = [band.add("a", d) for d in deadlines]
    expected = sorted(waiters, key=lambda w: (due(w.ticket), w.order))
    assert band.order() == [w.ticket.request for w in expected]


def test_between_callers_the_smallest_counter_goes_first() -> None:
    band = Band()
    band.add("heavy", 0.0)
    band.add("light", 9.0)
    band.served("heavy", 10)
    band.served("light", 9)
    assert band.next() == 2
    band.served("light", 2)
    assert band.next() == 1


def test_with_slack_the_earliest_deadline_goes_first_among_nearly_equal_callers() -> None:
    band = Band()
    band.add("a", 5.0)
    band.add("b", 3.0)
    band.add("c", 1.0)
    band.served("b", 10)
    band.served("c", 11)
    assert band.next() == 1
    assert band.next(slack=9.9) == 1
    assert band.next(slack=10.0) == 2
    assert band.next(slack=11.0) == 3


def test_bands_are_told_highest_first_and_keep_apart() -> None:
    band = Band()
    for priority in (0, 5, -5):
        band.add(priority=priority)
    assert band.lines.bands == [5, 0, -5]
    assert [band.next(priority) for priority in (0, 5, -5, 7)] == [1, 2, 3, None]


def test_a_number_that_is_used_again_is_another_waiter() -> None:
    band = Band()
    first = band.add("a", 1.0, request=7)
    band.lines.remove(first.ticket)
    band.add("a", 3.0, request=8)
    again = band.add("a", 5.0, request=7)
    assert band.next() == 8
    band.lines.remove(again.ticket)
    assert band.order() == [8]


def test_whoever_comes_back_is_no_lighter_than_those_who_stayed() -> None:
    band = Band()
    band.add("stays")
    gone = band.add("goes")
    band.lines.remove(gone.ticket)
    band.served("stays", 150)
    band.counters[0].chosen("stays")
    band.add("goes")
    assert band.counters[0].of("goes") == 150


def test_whoever_comes_to_a_line_is_not_put_behind_those_who_wait_there() -> None:
    band = Band()
    band.add("patient")
    band.served("patient", 20)
    band.served("elsewhere", 500)
    band.counters[0].chosen("elsewhere")
    band.add("new")
    assert band.counters[0].of("new") == 20


@pytest.mark.parametrize(
    ("caller", "deadline_s", "ahead"),
    [
        ("new", None, 2 + 2),  # two above; one of each other caller before its first
        ("a", None, 2 + 3 + 1),  # all its own, and all of b
        ("a", 1.0, 2 + 1 + 1),  # those of its own that are due no later
        ("a", 0.5, 2 + 0 + 1),
        ("b", None, 2 + 1 + 2),  # its one, and two of a's three
    ],
)
def test_ahead_of_a_newcomer_are_higher_bands_its_own_and_as_many_of_others_as_its_turn(
    caller: str, deadline_s: float | None, ahead: int
) -> None:
    band = Band()
    for _ in range(2):
        band.add("z", priority=1)
    band.add("z", priority=-1)
    for due_s in (1.0, 2.0, None):
        band.add("a", due_s)
    band.add("b")
    ticket = Ticket(request=99, caller=caller, deadline_s=deadline_s)
    assert band.lines.ahead_of(ticket) == ahead


WAITING = st.lists(
    st.tuples(st.sampled_from("abc"), DEADLINES, st.integers(-1, 1), st.booleans()),
    min_size=1,
    max_size=14,
)
COUNTERS = st.dictionaries(st.tuples(st.sampled_from("abc"), st.integers(-1, 1)), st.integers(0, 3))
Waits = list[tuple[str, int | None, int, bool]]
Served = dict[tuple[str, int], int]


def crowd(waits: Waits, served: Served) -> tuple[Band, list[Waiter]]:
    band = Band()
    waiters = [band.add(c, d, p, patient=patient) for c, d, p, patient in waits]
    for (caller, priority), tokens in served.items():
        band.served(caller, tokens, priority)
    return band, waiters


@given(waits=WAITING, served=COUNTERS)
def test_everybody_who_waits_has_a_position_of_his_own_in_the_order_of_bands_and_of_callers(
    waits: Waits, served: Served
) -> None:
    band, waiters = crowd(waits, served)
    positions = {w.ticket.request: band.lines.position(w.ticket) for w in waiters}
    assert sorted(positions.values()) == list(range(1, len(waiters) + 1))
    assert positions == band.lines.positions(), "one by one, and all in one pass"
    first = min(positions, key=positions.__getitem__)
    assert first == band.next(band.lines.bands[0]), "position 1 is who goes next"
    for one in waiters:
        for other in waiters:
            mine, theirs = (positions[w.ticket.request] for w in (one, other))
            equals = (one.ticket.priority, one.ticket.caller) == (
                other.ticket.priority,
                other.ticket.caller,
            )
            sooner = (due(one.ticket), one.order) < (due(other.ticket), other.order)
            if one.ticket.priority > other.ticket.priority or (equals and sooner):
                assert mine < theirs


@given(waits=WAITING, served=COUNTERS, gone=st.integers(0, 13))
def test_nobody_moves_back_when_another_leaves_and_all_behind_it_move_up_or_stay(
    waits: Waits, served: Served, gone: int
) -> None:
    band, waiters = crowd(waits, served)
    leaves = waiters.pop(gone % len(waiters))
    before = {w.order: band.lines.position(w.ticket) for w in waiters}
    was_at = band.lines.position(leaves.ticket)
    band.lines.remove(leaves.ticket)
    after = {w.order: band.lines.position(w.ticket) for w in waiters}
    for waiter in waiters:
        assert after[waiter.order] <= before[waiter.order]
        if before[waiter.order] < was_at:
            assert after[waiter.order] == before[waiter.order]


@given(deadlines=st.lists(DEADLINES, min_size=1, max_size=10))
def test_of_one_caller_the_positions_are_the_order_in_which_they_go(
    deadlines: list[int | None],
) -> None:
    band = Band()
    waiters = [band.add("a", d) for d in deadlines]
    by_position = sorted(waiters, key=lambda w: band.lines.position(w.ticket))
    assert [w.ticket.request for w in by_position] == band.order()


def test_a_heavy_callers_second_waits_for_the_first_of_a_light_one() -> None:
    band = Band()
    heavy = [band.add("heavy"), band.add("heavy")]
    light = band.add("light")
    band.served("light", 5)
    assert [band.lines.position(w.ticket) for w in (*heavy, light)] == [1, 3, 2]
    band.served("heavy", 6)
    assert [band.lines.position(w.ticket) for w in (*heavy, light)] == [2, 3, 1]


def test_who_does_not_wait_here_has_no_position() -> None:
    band = Band()
    band.add("a")
    with pytest.raises(KeyError):
        band.lines.position(Ticket(request=99, caller="a"))


def test_the_patient_never_give_way_and_do_not_make_a_caller_the_longest() -> None:
    band = Band()
    for _ in range(3):
        band.add("a", priority=-1, patient=True)
    assert band.lines.last_to_go() is None
    band.add("a")
    for _ in range(2):
        band.add("b")
    for _ in range(9):
        band.add("a", patient=True)
    lowest, waiting, newest = band.lines.last_to_go() or (None, None, None)
    assert newest is not None
    assert (lowest, waiting, newest.ticket.request) == (0, 2, 6)
    assert band.lines.hasty_of_caller(0, "a") == 1
    assert [band.lines.patient_below(priority) for priority in (-1, 0, 1)] == [0, 3, 12]


def test_last_to_go_is_the_newest_of_who_has_most_waiting_in_the_lowest_band() -> None:
    band = Band()
    assert band.lines.last_to_go() is None
    for caller in ("a", "a", "b"):
        band.add(caller, priority=0)
    for caller in ("a", "b", "b", "a"):
        band.add(caller, priority=-1)
    band.served("b", 5, priority=-1)
    lowest, waiting, newest = band.lines.last_to_go() or (None, None, None)
    assert (lowest, waiting) == (-1, 2)
    assert newest is not None
    assert newest.ticket.request == 6, "of equally many, those of the caller that had more"
    band.add("a", priority=-1)
    lowest, waiting, newest = band.lines.last_to_go() or (None, None, None)
    assert newest is not None
    assert (lowest, waiting, newest.ticket.request) == (-1, 3, 8)


class Crowd(RuleBasedStateMachine):
    """Any order of joining and leaving, over bands, callers and deadlines."""

    def __init__(self) -> None:
        super().__init__()
        self.band = Band()
        self.here: dict[int, Waiter] = {}

    @rule(
        caller=st.sampled_from("abc"),
        priority=st.integers(-1, 1),
        deadline_s=DEADLINES,
        since_s=st.integers(0, 3),
        patient=st.booleans(),
    )
    def join(
        self, caller: str, priority: int, deadline_s: int | None, since_s: int, patient: bool
    ) -> None:
        waiter = self.band.add(caller, deadline_s, priority, since_s, patient=patient)
        self.here[waiter.ticket.request] = waiter

    @precondition(lambda self: self.here)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        request = data.draw(st.sampled_from(sorted(self.here)))
        self.band.lines.remove(self.here.pop(request).ticket)

    @rule(caller=st.sampled_from("abc"), priority=st.integers(-1, 1), tokens=st.integers(1, 3))
    def serve(self, caller: str, priority: int, tokens: int) -> None:
        self.band.served(caller, tokens, priority)

    def _in(self, priority: int) -> list[Waiter]:
        return [w for w in self.here.values() if w.ticket.priority == priority]

    @invariant()
    def the_books_agree(self) -> None:
        lines = self.band.lines
        assert len(lines) == len(self.here)
        assert {w.ticket.request for w in lines} == set(self.here)
        assert lines.bands == sorted({w.ticket.priority for w in self.here.values()}, reverse=True)
        for priority in (-1, 0, 1):
            mine = self._in(priority)
            assert lines.in_band(priority) == len(mine)
            assert lines.callers(priority) == len({w.ticket.caller for w in mine})
            for caller in "abc":
                own = [w for w in mine if w.ticket.caller == caller]
                hasty = [w for w in own if not w.ticket.patient]
                assert lines.hasty_of_caller(priority, caller) == len(hasty)

    @invariant()
    def the_next_is_the_one_that_a_search_finds(self) -> None:
        for priority in (-1, 0, 1):
            mine = self._in(priority)
            found = self.band.lines.next(priority)
            for patient in (False, True):
                room = [w for w in mine if w.ticket.patient == patient]
                oldest = self.band.lines.oldest(priority, patient=patient)
                assert oldest is min(room, key=lambda w: w.order, default=None)
            if not mine:
                assert found is None
                continue
            of = self.band.counters[priority].of
            smallest = min(of(w.ticket.caller) for w in mine)
            assert found is not None
            assert of(found.ticket.caller) == smallest
            own = [w for w in mine if w.ticket.caller == found.ticket.caller]
            assert found is min(own, key=lambda w: (due(w.ticket), w.order))

    @invariant()
    def with_slack_it_is_the_first_due_of_all_within_it(self) -> None:
        for priority in (-1, 0, 1):
            mine = self._in(priority)
            if mine:
                of = self.band.counters[priority].of
                bound = min(of(w.ticket.caller) for w in mine) + 2
                near = [w for w in mine if of(w.ticket.caller) <= bound]
                found = self.band.lines.next(priority, slack_tokens=2)
                assert found is min(near, key=lambda w: (due(w.ticket), w.order))


Crowd.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestCrowd = Crowd.TestCase
