"""Token counters: who of several callers goes next. The queue around them is played by a small shop."""

from collections import deque

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from policies.fairness import MAX_CALLERS, OUTPUT_WEIGHT, PROMPT_WEIGHT, TokenCounters
from policies.lines import Lines, Ticket, Waiter

pytestmark = pytest.mark.req("ADM-5")

WEIGHTS = st.sampled_from([0.5, 1.0, 2.0, 3.0])
SIZES = st.tuples(st.integers(1, 50), st.integers(0, 20))
"""(prompt tokens, generated tokens) of one request."""
CALLERS = st.lists(
    st.tuples(WEIGHTS, st.lists(SIZES, min_size=1, max_size=4)), min_size=2, max_size=4
)
EPSILON = 1e-6


class Shop:
    """A lane whose places are always full and whose callers always have somebody waiting.

    Each running request gets a token a turn, and every caller is charged as the loop charges it. A
    caller's requests go round through its list of sizes.
    """

    def __init__(
        self,
        callers: list[tuple[float, list[tuple[int, int]]]],
        places: int,
        slack_tokens: float = 0.0,
    ) -> None:
        self.counters = TokenCounters()
        self.lines = Lines(lambda priority: self.counters)
        self.weights = [weight for weight, _ in callers]
        self.sizes = [deque(sizes) for _, sizes in callers]
        self.slack_tokens = slack_tokens
        self.places = places
        self.running: list[list[int]] = []  # caller, prompt, output, generated
        self.served = [0.0] * len(callers)
        self.own_inflight = [0.0] * len(callers)
        """The most that a caller's requests in flight were ever charged together, by its weight."""
        self.inflight_tokens = 0
        self.longest_prompt = 0
        self.numbers = 0
        self.waiting: dict[int, tuple[int, int]] = {}
        for caller in range(len(callers)):
            self.queue(caller)

    def queue(self, caller: int) -> None:
        """The next request of a caller, with a deadline that has nothing to do with fairness."""
        self.numbers += 1
        prompt, output = self.sizes[caller][0]
        self.sizes[caller].rotate(-1)
        self.waiting[self.numbers] = (prompt, output)
        ticket = Ticket(
            request=self.numbers,
            caller=str(caller),
            prompt_tokens=prompt,
            deadline_s=float(self.numbers * 7 % 5),
        )
        self.lines.push(Waiter(ticket, 0.0, self.numbers))

    def charge(self, caller: int, tokens: float) -> None:
        self.counters.charge(str(caller), tokens, self.weights[caller])
        self.served[caller] += tokens / self.weights[caller]

    def turn(self) -> None:
        while len(self.running) < self.places:
            waiter = self.lines.next(0, self.slack_tokens)
            assert waiter is not None
            caller = int(waiter.ticket.caller)
            self.counters.chosen(waiter.ticket.caller)
            self.queue(caller)
            self.lines.remove(waiter.ticket)
            prompt, output = self.waiting.pop(waiter.ticket.request)
            self.running.append([caller, prompt, output, 0])
            self.charge(caller, PROMPT_WEIGHT * prompt)
            self._note(prompt)
        for request in self.running:
            if request[3] < request[2]:
                request[3] += 1
                self.charge(request[0], OUTPUT_WEIGHT)
        self.running = [request for request in self.running if request[3] < request[2]]

    def _note(self, prompt: int) -> None:
        self.longest_prompt = max(self.longest_prompt, prompt)
        self.inflight_tokens = max(self.inflight_tokens, sum(p + o for _, p, o, _ in self.running))
        for caller, weight in enumerate(self.weights):
            mine = sum(
                PROMPT_WEIGHT * p + OUTPUT_WEIGHT * o for c, p, o, _ in self.running if c == caller
            )
            self.own_inflight[caller] = max(self.own_inflight[caller], mine / weight)

    def run(self, turns: int) -> list[list[float]]:
        history = [list(self.served)]
        for _ in range(turns):
            self.turn()
            history.append(list(self.served))
        return history


def _gaps(history: list[list[float]], one: int, other: int) -> float:
    """The largest difference of service over any stretch of time."""
    ahead = [served[one] - served[other] for served in history]
    return max(ahead) - min(ahead)


@given(callers=CALLERS, places=st.integers(1, 4))
@example(callers=[(1.0, [(50, 0)]), (1.0, [(1, 0)])], places=1)
@example(callers=[(1.0, [(1, 20)]), (3.0, [(1, 1)]), (0.5, [(50, 20)])], places=4)
def test_backlogged_callers_differ_by_no_more_than_what_they_have_in_flight(
    callers: list[tuple[float, list[tuple[int, int]]]], places: int
) -> None:
    """The bound that the module states: each counter is ahead of any other by at most its own requests
    in flight, so over any stretch the services differ by at most the sum of both."""
    shop = Shop(callers, places)
    history = shop.run(60)
    for one in range(len(callers)):
        for other in range(one):
            bound = shop.own_inflight[one] + shop.own_inflight[other]
            assert _gaps(history, one, other) <= bound + EPSILON


@given(
    sizes=st.lists(st.lists(SIZES, min_size=1, max_size=4), min_size=2, max_size=4),
    places=st.integers(1, 4),
)
def test_of_equal_weights_that_is_within_the_bound_of_the_paper(
    sizes: list[list[tuple[int, int]]], places: int
) -> None:
    shop = Shop([(1.0, mine) for mine in sizes], places)
    history = shop.run(60)
    bound = 2 * max(PROMPT_WEIGHT * shop.longest_prompt, OUTPUT_WEIGHT * shop.inflight_tokens)
    for one in range(len(sizes)):
        for other in range(one):
            assert _gaps(history, one, other) <= bound + EPSILON


@given(callers=CALLERS, places=st.integers(1, 4), slack_tokens=st.sampled_from([10.0, 100.0]))
def test_ordering_by_deadline_within_a_slack_costs_no_more_than_the_slack(
    callers: list[tuple[float, list[tuple[int, int]]]], places: int, slack_tokens: float
) -> None:
    shop = Shop(callers, places, slack_tokens)
    history = shop.run(60)
    for one in range(len(callers)):
        for other in range(one):
            bound = shop.own_inflight[one] + shop.own_inflight[other] + 2 * slack_tokens
            assert _gaps(history, one, other) <= bound + EPSILON


@pytest.mark.parametrize("weights", [(1.0, 1.0), (1.0, 2.0), (3.0, 1.0), (0.5, 2.0, 1.0)])
def test_weights_give_service_in_proportion_whatever_the_sizes(weights: tuple[float, ...]) -> None:
    sizes = [[(40, 3), (2, 2)], [(1, 1)], [(7, 9), (30, 1), (3, 3)]]
    shop = Shop(list(zip(weights, sizes, strict=False)), places=3)
    served = shop.run(6000)[-1]
    tokens = [share * weight for share, weight in zip(served, weights, strict=True)]
    for weight, mine in zip(weights, tokens, strict=True):
        assert mine / sum(tokens) == pytest.approx(weight / sum(weights), rel=0.02)


def _one_after_the_other(counters: TokenCounters, caller: str, times: int, tokens: float) -> None:
    """Served without waiting, as where a place is always free."""
    for _ in range(times):
        counters.arrive(caller)
        counters.chosen(caller)
        counters.leave(caller)
        counters.charge(caller, tokens)


def test_absence_saves_nothing_up() -> None:
    counters = TokenCounters()
    counters.arrive("away")
    counters.charge("away", 10)
    counters.leave("away")
    counters.arrive("busy")
    for _ in range(100):
        counters.chosen("busy")
        counters.charge("busy", 50)
    assert counters.of("busy") - counters.of("away") > 4000
    counters.arrive("away", lowest=counters.of("busy"))
    assert counters.of("away") == counters.of("busy") - 50, (
        "where the last one was when it was chosen"
    )


def test_in_a_line_that_moves_slowly_nobody_comes_in_behind_those_who_wait_there() -> None:
    counters = TokenCounters()
    for caller in ("fast", "slow"):
        counters.arrive(caller)
    counters.charge("fast", 900)
    counters.chosen("fast")
    counters.charge("slow", 300)
    counters.arrive("new in slow", lowest=300.0)
    counters.arrive("new in fast", lowest=900.0)
    assert (counters.of("new in slow"), counters.of("new in fast")) == (300, 900)


def test_calm_times_without_a_queue_save_nothing_up_either() -> None:
    counters = TokenCounters()
    _one_after_the_other(counters, "busy", times=1000, tokens=50)
    counters.arrive("new")
    assert counters.of("busy") - counters.of("new") <= 50


def test_who_is_ahead_of_those_who_wait_stays_ahead() -> None:
    counters = TokenCounters()
    _one_after_the_other(counters, "heavy", times=1, tokens=500)
    counters.arrive("heavy", lowest=20.0)
    assert counters.of("heavy") == 500


def test_who_waits_in_one_line_is_not_lifted_by_joining_another() -> None:
    counters = TokenCounters()
    counters.arrive("patient")
    counters.charge("busy", 1e6)
    counters.chosen("busy")
    counters.arrive("patient")
    assert counters.of("patient") == 0
    counters.leave("patient")
    counters.arrive("patient")
    assert counters.of("patient") == 0, "it still waited in one of both"
    counters.leave("patient")
    counters.leave("patient")
    counters.arrive("patient")
    assert counters.of("patient") == 1e6


def test_a_weight_divides_what_is_charged() -> None:
    counters = TokenCounters()
    counters.charge("double", 100, weight=2.0)
    assert counters.of("double") == 50


def test_the_level_never_falls() -> None:
    counters = TokenCounters()
    counters.charge("heavy", 100)
    counters.chosen("heavy")
    counters.charge("light", -60)  # an unknown one begins at the level, of 100
    counters.chosen("light")
    assert counters.of("stranger") == 100


def test_however_many_callers_come_no_more_are_remembered_than_the_bound() -> None:
    counters = TokenCounters()
    for number in range(MAX_CALLERS + 500):
        counters.arrive(str(number))
        counters.charge(str(number), 1.0 + number)
        counters.leave(str(number))
        counters.charge(f"settled late {number}", 1.0)
        assert len(counters._counters) <= MAX_CALLERS
    assert not counters._waiting


def test_those_are_forgotten_who_lose_least_by_it_and_nobody_who_waits() -> None:
    counters = TokenCounters()
    counters.arrive("waits")
    for number in range(MAX_CALLERS - 1):
        counters.charge(str(number), 1.0 + number)
    counters.charge("one more", 5.0)
    quarter = MAX_CALLERS // 4
    assert [counters.of(str(number)) for number in (0, quarter - 1)] == [0, 0], "the lightest"
    for number in (quarter, MAX_CALLERS - 2):
        assert counters.of(str(number)) == 1 + number
    assert counters.of("one more") == 5
    assert "waits" in counters._counters


def test_those_at_the_level_go_first_of_all() -> None:
    counters = TokenCounters()
    counters.arrive("waits")
    for number in range(MAX_CALLERS - 1):
        counters.charge(str(number), 1.0 + number)
    counters.chosen(str(MAX_CALLERS - 11))
    counters.charge("one more", 5.0)
    assert len(counters._counters) == 10 - 1 + 2
    assert "waits" in counters._counters
    assert counters.of("one more") == MAX_CALLERS - 10 + 5
    for number in range(MAX_CALLERS - 10, MAX_CALLERS - 1):
        assert counters.of(str(number)) == 1 + number


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["pass", "arrive", "chosen", "leave", "charge"]), st.sampled_from("ab")
    ),
    max_size=30,
)


@given(steps=STEPS)
def test_to_pass_by_is_to_arrive_be_chosen_leave_and_be_charged(
    steps: list[tuple[str, str]],
) -> None:
    short, long = TokenCounters(), TokenCounters()
    for step, caller in steps:
        if step == "pass":
            short.pass_by(caller, 6.0, 2.0)
            for each in (long.arrive, long.chosen, long.leave):
                each(caller)
            long.charge(caller, 6.0, 2.0)
            continue
        for counters in (short, long):
            if step == "charge":
                counters.charge(caller, 1.0)
            elif step != "leave" or caller in counters._waiting:
                getattr(counters, step)(caller)
        assert vars(short) == vars(long)
