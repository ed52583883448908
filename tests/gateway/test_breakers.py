"""Endpoints that fail are gone round while there is another way, and used again soon after they are well."""

import asyncio

import pytest

from contracts.catalog import Catalog
from contracts.errors import GatewayError, StreamBroken, UpstreamFault
from contracts.inference import RoutingPlan, Target, Timeouts
from gateway.executor import Executor
from gateway.pools import Pool
from gateway.progress import Progress
from policies.breaker import COOLDOWN_MAX_S, BreakerSettings
from tests.fakes.recorder import Remembering
from tests.fakes.scripted import Script, ScriptedTransport, answer, refusal
from tests.gateway.conftest import MakePool
from tests.gateway.test_executor import Listening, request

pytestmark = [pytest.mark.looptime, pytest.mark.req("RUN-5", "RUN-7")]
DOWN = refusal(503, b'{"error":{"message":"later"}}')


class Client:
    """Asks again and again over the same executor."""

    def __init__(self, *pools: Pool) -> None:
        loop = asyncio.get_running_loop()
        self.executor = Executor(
            {p.id: p for p in pools}, draw=lambda: 0.0, new_id=lambda: "c", clock=loop.time
        )
        targets = tuple(Target(model=p.id, pool=p.id, upstream="m") for p in pools)
        self._plan = RoutingPlan(targets=targets)
        self.infer = request()
        self.error: GatewayError | None = None

    async def ask(self) -> str:
        """The pool that answered; "" where none did."""
        sink = Listening()
        progress = Progress(accepted_s=asyncio.get_running_loop().time())
        try:
            await self.executor.infer(
                self.infer, self._plan, Catalog(), sink, progress, Remembering()
            )
        except GatewayError as exc:
            self.error = exc
            return ""
        assert progress.target is not None
        return progress.target.pool


class Recovering(ScriptedTransport):
    """503 until a moment, well after it."""

    def __init__(self, well_at_s: float) -> None:
        super().__init__(DOWN)
        self._well_at_s = well_at_s

    def start(self, *args: object) -> object:  # type: ignore[override]
        if asyncio.get_running_loop().time() >= self._well_at_s:
            self._scripts = [answer()]
        return super().start(*args)  # type: ignore[arg-type]


async def test_a_minute_of_503_is_spent_at_the_fallback_with_few_probes(
    make_pool: MakePool,
) -> None:
    """F15: twenty requests, four seconds apart; the primary is well after a minute."""
    primary = Recovering(60.0)
    client = Client(
        make_pool("primary", primary, retries=1), make_pool("fallback", ScriptedTransport(answer()))
    )
    served = []
    for _ in range(24):
        served.append(await client.ask())
        await asyncio.sleep(4)
    assert "" not in served
    assert served[-1] == "primary"
    assert served.index("primary") * 4 <= 60 + COOLDOWN_MAX_S
    in_the_outage = sum(at_s < 60 for at_s in primary.started_s)
    assert in_the_outage <= BreakerSettings().failures + 3, "a few to learn it, a few probes"


async def test_who_has_nowhere_else_to_go_hears_the_backends_own_error(make_pool: MakePool) -> None:
    transport = ScriptedTransport(DOWN)
    client = Client(make_pool("only", transport, retries=0))
    for _ in range(12):
        assert await client.ask() == ""
    assert len(transport.requests) == 12


async def test_a_failing_endpoint_is_gone_round_within_its_pool(make_pool: MakePool) -> None:
    sick, well = ScriptedTransport(DOWN), ScriptedTransport(answer())
    client = Client(make_pool("a", sick, well, retries=1))
    for _ in range(30):
        assert await client.ask() == "a"
    assert len(sick.requests) <= BreakerSettings().failures + 1, "one probe in nine seconds"


async def test_a_bad_request_says_nothing_about_the_endpoint(make_pool: MakePool) -> None:
    wrong = ScriptedTransport(refusal(400, b'{"error":{"message":"wrong"}}'))
    pool = make_pool("a", wrong)
    client = Client(pool)
    for _ in range(20):
        await client.ask()
    assert not pool.breakers.unwell
    assert not pool.failing


async def test_opening_and_closing_are_logged_once_each(
    make_pool: MakePool, caplog: pytest.LogCaptureFixture
) -> None:
    pool = make_pool("a", ScriptedTransport(answer()))
    error = UpstreamFault("x", fault="unavailable", code="overloaded")
    with caplog.at_level("INFO"):
        for _ in range(8):
            slot = await pool.enter().slot
            slot.ended(error)
            slot.release()
        await asyncio.sleep(BreakerSettings().cooldown_s)
        slot = await pool.enter().slot
        slot.ended(None)
        slot.release()
    told = [r.getMessage() for r in caplog.records]
    assert told == ["breaker_opened", "breaker_closed"]
    assert caplog.records[0].fields["replica_id"] == "a/1"


async def test_who_is_gone_round_is_asked_where_nobody_else_can_do_it(make_pool: MakePool) -> None:
    sick = ScriptedTransport(DOWN)
    other = ScriptedTransport(answer())
    client = Client(make_pool("a", sick, retries=0), make_pool("b", other, engine="anthropic"))
    client.infer = request(logprobs=True)
    for _ in range(BreakerSettings().failures + 1):
        assert await client.ask() == ""
    assert client.error is not None
    assert client.error.code == "upstream_unavailable", "and not that the other one cannot"
    assert (len(sick.requests), other.requests) == (BreakerSettings().failures + 1, [])


FRAGILE = BreakerSettings(failures=1)


def after(by_s: float, script: Script) -> Script:
    return [(at_s + by_s, action) for at_s, action in script]


async def test_a_backlog_is_not_sent_to_an_endpoint_that_failed_since_it_came(
    make_pool: MakePool,
) -> None:
    sick, well = ScriptedTransport(after(1, DOWN)), ScriptedTransport(answer())
    pool = make_pool("a", sick, well, retries=0, slots=1, breaker=FRAGILE)
    client = Client(pool)
    well_until_then = await pool.enter(avoid=[pool.endpoints[0]]).slot
    async with asyncio.TaskGroup() as group:
        asking = [group.create_task(client.ask()) for _ in range(8)]
        await asyncio.sleep(1.005)
        well_until_then.release()
    assert len(sick.requests) == 1
    assert [asked.result() for asked in asking] == ["", *["a"] * 7]


async def test_who_waited_for_a_pool_that_failed_meanwhile_is_served_by_the_next(
    make_pool: MakePool,
) -> None:
    sick = ScriptedTransport(after(1, DOWN))
    first = make_pool("a", sick, retries=0, slots=1, breaker=FRAGILE)
    client = Client(first, make_pool("b", ScriptedTransport(answer())))
    async with asyncio.TaskGroup() as group:
        asking = [group.create_task(client.ask()) for _ in range(6)]
    assert len(sick.requests) == 1
    assert [asked.result() for asked in asking] == ["b"] * 6
    assert first.signals().inflight == 0


async def test_who_left_its_pool_for_that_comes_back_where_the_next_fails(
    make_pool: MakePool,
) -> None:
    first = make_pool(
        "a", ScriptedTransport(after(1, DOWN), answer()), retries=0, slots=1, breaker=FRAGILE
    )
    client = Client(first, make_pool("b", ScriptedTransport(DOWN), retries=0))
    async with asyncio.TaskGroup() as group:
        asking = [group.create_task(client.ask()) for _ in range(2)]
    assert [asked.result() for asked in asking] == ["", "a"]


async def test_of_those_let_in_together_one_is_the_probe(make_pool: MakePool) -> None:
    pool = make_pool(
        "a", ScriptedTransport(answer()), ScriptedTransport(answer()), slots=4, breaker=FRAGILE
    )
    pool.breakers.ended(0, StreamBroken("x", fault="stream_broken"), probe=False)
    held = [await pool.enter().slot for _ in range(8)]
    assert all(slot.endpoint.index == 1 for slot in held)
    waiting = [pool.enter() for _ in range(6)]
    await asyncio.sleep(FRAGILE.cooldown_s)
    waiting += [pool.enter() for _ in range(4)]
    later = [entry for entry in waiting if not entry.slot.done()]
    for slot in held:
        slot.release()
    given = [entry.slot.result() for entry in later if not entry.slot.exception()]
    assert [slot.endpoint.index for slot in given].count(0) == 1


async def test_a_probe_that_was_never_sent_leaves_its_turn_to_the_next(make_pool: MakePool) -> None:
    pool = make_pool("a", ScriptedTransport(answer()), ScriptedTransport(answer()), breaker=FRAGILE)
    pool.breakers.ended(0, StreamBroken("x", fault="stream_broken"), probe=False)
    await asyncio.sleep(FRAGILE.cooldown_s)
    probe, other = pool.enter(), pool.enter()
    assert (probe.slot.result().endpoint.index, other.slot.result().endpoint.index) == (0, 1)
    probe.leave()
    assert pool.enter().slot.result().endpoint.index == 0


@pytest.mark.parametrize("full", [True, False])
async def test_who_was_gone_round_is_asked_where_the_fallback_does_not_answer(
    make_pool: MakePool, full: bool
) -> None:
    """And its slow first token is waited for: nobody else is left."""
    primary = ScriptedTransport(DOWN, answer(start_s=20.0))
    limits = Timeouts(first_token_s=5.0)
    first = make_pool("a", primary, retries=0, breaker=FRAGILE, timeouts=limits)
    second = make_pool("b", ScriptedTransport(DOWN), retries=0, slots=1, max_waiting=0)
    client = Client(first, second)
    assert await client.ask() == ""
    assert first.failing
    held = await second.enter().slot if full else None
    assert await client.ask() == "a"
    if held is not None:
        held.release()


async def test_who_was_gone_round_is_asked_once(make_pool: MakePool) -> None:
    primary = ScriptedTransport(DOWN)
    client = Client(
        make_pool("a", primary, retries=3, breaker=FRAGILE),
        make_pool("b", ScriptedTransport(DOWN), retries=0),
    )
    await client.ask()
    before = len(primary.requests)
    assert await client.ask() == ""
    assert len(primary.requests) == before + 1
