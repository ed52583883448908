"""A second attempt beside a slow first one: who wins, what the client sees, what it may cost."""

import asyncio
from collections.abc import Callable

import msgspec
import pytest

from contracts.catalog import Catalog
from contracts.errors import GatewayError, UpstreamFault
from contracts.events import Delta, End, Event
from contracts.inference import InferRequest, RoutingPlan, Target
from gateway.attempt import Upstream
from gateway.entry import Entry
from gateway.executor import Executor
from gateway.hedge import BURST, HedgeBudget
from gateway.intake import read_request
from gateway.pools import Pool
from gateway.progress import Progress
from policies.breaker import BreakerSettings
from tests.fakes import anthropic_words
from tests.fakes.answers import Answer
from tests.fakes.recorder import Remembering
from tests.fakes.scripted import ScriptedTransport, answer, data, end, head, refusal

MakePool = Callable[..., Pool]
pytestmark = [pytest.mark.looptime, pytest.mark.req("INT-5", "RUN-5")]


class Listening:
    """A sink that remembers, and what was attached to it."""

    patience_s: float | None = None
    keeps_back = False

    def __init__(self) -> None:
        self.seen: list[Event] = []
        self.served_by = ""
        self.waits = 0

    async def open(self, progress: Progress) -> None: ...

    def entered(self, entry: Entry) -> None: ...

    async def waiting(self, progress: Progress) -> None:
        self.waits += 1

    def events(self, events: list[Event]) -> None:
        self.seen += events

    def attach(self, attempt: Upstream, model: str) -> None:
        self.served_by = model

    @property
    def text(self) -> str:
        return "".join(event.content for event in self.seen if isinstance(event, Delta))


def request(**members: object) -> InferRequest:
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], **members}
    return read_request(msgspec.json.encode(body), "chat", request_id="r", key="", headers={})


class Race:
    """An executor over pools, and one request that may be hedged after a second."""

    def __init__(self, *pools: Pool) -> None:
        self.sink, self.recorder = Listening(), Remembering()
        self.pools, self.infer = pools, request()
        loop = asyncio.get_running_loop()
        self.executor = Executor(
            {pool.id: pool for pool in pools}, draw=lambda: 1.0, new_id=str, clock=loop.time
        )
        self.plan = RoutingPlan(
            targets=tuple(
                Target(model=f"m{n}", pool=pool.id, upstream=f"up{n}")
                for n, pool in enumerate(pools)
            ),
            hedge_after_s=1.0,
        )

    async def run(self) -> Progress:
        progress = Progress(accepted_s=asyncio.get_running_loop().time())
        await self.executor.infer(
            self.infer, self.plan, Catalog(), self.sink, progress, self.recorder
        )
        return progress


def slow(text: str = "late", start_s: float = 5.0) -> ScriptedTransport:
    return ScriptedTransport(answer((text,), start_s=start_s))


def quick(text: str = "soon") -> ScriptedTransport:
    return ScriptedTransport(answer((text,), start_s=0.1))


async def settled(*pools: Pool) -> None:
    await asyncio.sleep(2)
    for pool in pools:
        assert pool.signals().inflight == 0
        assert all(endpoint.inflight == 0 for endpoint in pool.endpoints)


async def test_a_slow_first_attempt_is_overtaken_by_another_endpoint(make_pool: MakePool) -> None:
    late, soon = slow(), quick()
    pool = make_pool("a", late, soon)
    race = Race(pool)
    progress = await race.run()
    assert race.sink.text == "soon"
    assert isinstance(race.sink.seen[-1], End)
    assert progress.first_token_s == pytest.approx(1.1)
    assert [a.fault for a in progress.attempts] == ["hedge_lost", None]
    assert late.exchanges[0].cancelled_at_s == pytest.approx(1.1), "at the winner's first content"
    await settled(pool)


async def test_a_first_attempt_that_is_quick_enough_runs_alone(make_pool: MakePool) -> None:
    other = quick("other")
    pool = make_pool("a", ScriptedTransport(answer(("first",), start_s=0.9)), other)
    race = Race(pool)
    progress = await race.run()
    assert (race.sink.text, other.requests) == ("first", [])
    assert len(progress.attempts) == 1
    await settled(pool)


async def test_the_first_attempt_may_still_win(make_pool: MakePool) -> None:
    late = slow("second", 9.0)
    pool = make_pool("a", ScriptedTransport(answer(("first",), start_s=2.0)), late)
    race = Race(pool)
    progress = await race.run()
    assert race.sink.text == "first"
    assert late.exchanges[0].cancelled_at_s == pytest.approx(2.0)
    assert [a.fault for a in progress.attempts] == [None, "hedge_lost"]
    assert progress.target is not None
    await settled(pool)


async def test_a_hedge_goes_to_the_next_target_where_the_pool_has_one_endpoint(
    make_pool: MakePool,
) -> None:
    first, second = make_pool("a", slow()), make_pool("b", quick())
    race = Race(first, second)
    progress = await race.run()
    assert (race.sink.text, race.sink.served_by) == ("soon", "m1")
    assert progress.target is not None
    assert progress.target.pool == "b"
    await settled(first, second)


async def test_nobody_waits_for_a_place_to_hedge_in(make_pool: MakePool) -> None:
    busy = make_pool("b", quick(), slots=1)
    held = await busy.enter().slot
    first = make_pool("a", slow("first", 3.0))
    race = Race(first, busy)
    await race.run()
    assert race.sink.text == "first"
    assert busy.signals().queued == 0
    held.release()
    await settled(first, busy)


async def test_one_attempt_failing_leaves_the_other_running(make_pool: MakePool) -> None:
    failing = ScriptedTransport([(0.5, lambda sink: None), *_shifted(refusal(500), 1.5)])
    pool = make_pool("a", slow("first", 4.0), failing)
    race = Race(pool)
    await race.run()
    assert race.sink.text == "first"
    await settled(pool)


async def test_both_failing_is_the_engines_error(make_pool: MakePool) -> None:
    failing = [ScriptedTransport(_shifted(refusal(500), at_s)) for at_s in (3.0, 0.5)]
    pool = make_pool("a", *failing, retries=0)
    race = Race(pool)
    with pytest.raises(GatewayError):
        await race.run()
    assert race.sink.seen == []
    await settled(pool)


async def test_a_client_that_leaves_takes_both_attempts_with_it(make_pool: MakePool) -> None:
    transports = slow(), slow()
    pool = make_pool("a", *transports)
    task = asyncio.get_running_loop().create_task(Race(pool).run())
    await asyncio.sleep(2.0)
    assert all(transport.exchanges for transport in transports)
    task.cancel()
    await asyncio.wait((task,))
    assert all(t.exchanges[0].cancelled_at_s == pytest.approx(2.0) for t in transports)
    await settled(pool)


async def test_hedges_are_a_bounded_share_of_requests(make_pool: MakePool) -> None:
    late = slow("first", 2.0)
    second = slow("second", 2.0)
    pool = make_pool("a", late, second, max_inflight=500)
    race = Race(pool)
    for _ in range(100):
        race.recorder = Remembering()
        await race.run()
    hedged = len(late.requests) + len(second.requests) - 100
    assert BURST <= hedged <= BURST + 100 * race.plan.hedge_budget + 1


def test_a_budget_is_earned_and_spent() -> None:
    budget = HedgeBudget(0.25)
    spent = 0
    while budget.allowed():
        budget.spend()
        spent += 1
    assert spent == BURST
    budget.requests += 4
    assert budget.allowed()
    budget.requests += 1000
    assert budget.allowed()
    for _ in range(int(BURST)):
        budget.spend()
    assert not budget.allowed(), "no more than that are saved up"


def test_no_share_is_no_hedge() -> None:
    budget = HedgeBudget(0.0)
    budget.requests += 1
    assert not budget.allowed()


async def test_each_route_has_a_budget_of_its_own(make_pool: MakePool) -> None:
    late, other = slow("first", 2.0), slow("second", 2.0)
    race = Race(make_pool("a", late, other, max_inflight=500))
    race.plan = msgspec.structs.replace(race.plan, route="r", hedge_budget=0.0)
    for _ in range(3):
        await race.run()
    assert len(late.requests) + len(other.requests) == 3
    race.plan = msgspec.structs.replace(race.plan, route="s", hedge_budget=1.0)
    await race.run()
    assert len(late.requests) + len(other.requests) == 5


async def test_what_the_second_cannot_be_told_leaves_the_first_alone(make_pool: MakePool) -> None:
    """A dialect that refuses a parameter says so before anything is sent."""
    late, other = slow("first"), quick("second")
    race = Race(make_pool("a", late), make_pool("b", other, engine="anthropic"))
    race.infer = request(logprobs=True)
    progress = await race.run()
    assert (race.sink.text, other.requests) == ("first", [])
    assert progress.target is not None
    assert progress.target.pool == "a"
    assert [a.fault for a in progress.attempts] == [None], "nothing was dispatched there"
    await settled(*race.pools)


async def test_an_endpoint_that_failed_lately_is_no_place_for_a_hedge(make_pool: MakePool) -> None:
    late, sick = slow("first"), ScriptedTransport(refusal(503))
    pool = make_pool("a", late, sick, retries=0)
    race = Race(pool)
    while not pool.breakers.unwell:
        pool.breakers.ended(1, UpstreamFault("x", fault="unavailable"), probe=False)
    await race.run()
    assert (race.sink.text, sick.requests) == ("first", [])


async def test_a_client_is_told_that_it_waits_while_two_run(make_pool: MakePool) -> None:
    race = Race(make_pool("a", slow("x", 9.0), slow("y", 9.5)))
    race.sink.patience_s = 2.0
    await race.run()
    assert race.sink.waits == 3, "after 3, 5 and 7 seconds"


def _shifted(script: object, by_s: float) -> list:
    return [(at_s + by_s, action) for at_s, action in script]


@pytest.mark.req("RUN-2")
@pytest.mark.parametrize(("start_s", "dropped"), [(5.0, ()), (0.5, ("seed",))])
async def test_what_was_dropped_is_told_of_the_attempt_that_answers(
    make_pool: MakePool, start_s: float, dropped: tuple[str, ...]
) -> None:
    body = anthropic_words.stream(Answer(text=("late",)))
    told = ScriptedTransport([head(0.1), data(start_s, body), end(start_s)])
    first, second = make_pool("a", told, engine="anthropic"), make_pool("b", quick())
    first.options = msgspec.structs.replace(first.options, unsupported="drop")
    race = Race(first, second)
    race.infer = request(seed=1)
    progress = await race.run()
    assert (race.sink.text, progress.dropped) == ("late" if dropped else "soon", dropped)


async def test_a_final_refusal_ends_the_race(make_pool: MakePool) -> None:
    """The other one would be refused too, or worse: would not, and answer what was refused."""
    late = slow("first", 5.0)
    wrong = ScriptedTransport(_shifted(refusal(400, b'{"error":{"message":"wrong"}}'), 0.5))
    pool = make_pool("a", late, wrong)
    race = Race(pool)
    with pytest.raises(GatewayError, match="wrong"):
        await race.run()
    assert asyncio.get_running_loop().time() == pytest.approx(1.51)
    assert late.exchanges[0].cancelled_at_s == pytest.approx(1.51)
    assert race.recorder.told[-2:] == ["it is pool a, endpoint 2", "failed: invalid_request"]
    await settled(pool)


async def test_where_both_fail_the_first_ones_error_is_told(make_pool: MakePool) -> None:
    said = [
        ScriptedTransport(_shifted(refusal(503, b'{"error":{"message":"%b"}}' % text), at_s))
        for text, at_s in ((b"one", 2.0), (b"two", 2.0))
    ]
    pool = make_pool("a", *said, retries=0)
    race = Race(pool)
    with pytest.raises(GatewayError, match="one"):
        await race.run()
    assert "it is pool a, endpoint 1" in race.recorder.told
    await settled(pool)


async def test_a_first_attempt_that_fails_is_known_before_the_other_ones_stream_ends(
    make_pool: MakePool,
) -> None:
    sick = ScriptedTransport(_shifted(refusal(503), 2.0))
    other = ScriptedTransport(answer(("word ",) * 20, start_s=2.0, gap_s=1.0))
    pool = make_pool("a", sick, other, breaker=BreakerSettings(failures=1))
    async with asyncio.TaskGroup() as group:
        race = Race(pool)
        group.create_task(race.run())
        await asyncio.sleep(3.5)
        await Race(pool).run()
    assert race.sink.text == "word " * 20
    assert (len(sick.requests), len(other.requests)) == (1, 2)


async def test_an_endpoint_that_hangs_is_gone_round_though_every_race_is_won(
    make_pool: MakePool,
) -> None:
    hung = ScriptedTransport([head(0.1)])
    pool = make_pool("a", hung, quick(), breaker=BreakerSettings(failures=3))
    race = Race(pool)
    for _ in range(5):
        await race.run()
    assert len(hung.requests) == 3
    await settled(pool)


async def test_a_hedge_that_comes_too_late_says_nothing_about_its_endpoint(
    make_pool: MakePool,
) -> None:
    pool = make_pool(
        "a", slow("first", 2.0), slow("second", 9.0), breaker=BreakerSettings(failures=1)
    )
    race = Race(pool)
    for _ in range(3):
        await race.run()
        await settled(pool)
    assert not pool.breakers.unwell


async def test_a_race_that_the_first_wins_is_told_of_as_the_firsts(make_pool: MakePool) -> None:
    first, second = make_pool("a", slow("first", 2.0)), make_pool("b", slow("second", 9.0))
    race = Race(first, second)
    progress = await race.run()
    assert race.recorder.told[-2:] == ["it is pool a, endpoint 1", "first token"]
    assert progress.target is not None
    assert progress.target.pool == "a"
