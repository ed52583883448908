"""Any sequence of faults under several requests at once: queues, breakers, retries, fallbacks and resumes together.
Virtual time.
"""

import asyncio
from typing import Any

import looptime
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.catalog import Catalog
from contracts.errors import GatewayError
from contracts.events import End, Fault
from contracts.inference import RoutingPlan, Target, Timeouts
from gateway.executor import Executor
from gateway.going_on import MAX_RESUMES
from gateway.pools import Pool
from gateway.progress import Progress
from gateway.slot import Slot
from policies.breaker import BreakerSettings
from tests.fakes.recorder import Remembering
from tests.gateway.conftest import MakePool
from tests.gateway.test_executor import Listening, request
from tests.gateway.test_resumable_any_order import TEXT, Fate, Speaker, fates

pytestmark = pytest.mark.req("RUN-5", "RUN-7")
LIMITS = Timeouts(first_token_s=5, idle_s=8, total_s=30, min_tokens_per_s=0.5)


class Door:
    """Looks on at whom a pool gives its places, and notes what it should not have done."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._admit = pool._admit
        self._probes: list[Slot] = []
        self.wrong: list[str] = []
        pool._admit = self.admit  # type: ignore[method-assign]  # a spy in its place

    def admit(self, *asked: Any) -> Slot:
        pool, now_s = self._pool, self._pool.now_s()
        before = {e.index: pool.breakers._breakers[e.index].state(now_s) for e in pool.ready}
        slot = self._admit(*asked)
        state = before[slot.endpoint.index]
        others = [s for index, s in before.items() if index != slot.endpoint.index]
        if slot.probe:
            self._probes = [p for p in self._probes if not p._released and not p._told]
            self._probes.append(slot)
            at_once = [p for p in self._probes if p.endpoint is slot.endpoint]
            if len(at_once) > 1:
                self.wrong.append(f"{len(at_once)} probes at once")
        if "closed" in others and state != "closed" and not slot.probe:
            self.wrong.append(f"work for one that is {state}, beside one that is well")
        if state == "open" and "half_open" in others and not self._probes:
            self.wrong.append("work for one that is open, beside one that waits for its probe")
        return slot


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    pools=st.lists(
        st.lists(st.lists(fates, min_size=1, max_size=4), min_size=1, max_size=3),
        min_size=1,
        max_size=2,
    ),
    come_after_s=st.lists(st.integers(0, 4), min_size=1, max_size=8),
    slots=st.integers(1, 2),
    failures=st.integers(1, 2),
    hedge_after_s=st.sampled_from([None, None, 1.0]),
    retries=st.integers(0, 2),
)
def test_open_endpoints_are_gone_round_and_every_client_has_one_ending(
    make_pool: MakePool,
    pools: list[list[list[Fate]]],
    come_after_s: list[int],
    slots: int,
    failures: int,
    hedge_after_s: float | None,
    retries: int,
) -> None:
    async def play() -> None:
        loop = asyncio.get_running_loop()
        made = [
            make_pool(
                f"p{number}",
                *(Speaker("vllm", list(given), 7) for given in endpoints),
                engine="vllm",
                slots=slots,
                retries=retries,
                timeouts=LIMITS,
                breaker=BreakerSettings(failures=failures, cooldown_s=3.0),
            )
            for number, endpoints in enumerate(pools)
        ]
        doors = [Door(pool) for pool in made]
        plan = RoutingPlan(
            targets=tuple(Target(model=p.id, pool=p.id, upstream="m", prefill=True) for p in made),
            resume="continue",
            hedge_after_s=hedge_after_s,
        )
        executor = Executor(
            {pool.id: pool for pool in made}, draw=lambda: 0.5, new_id=str, clock=loop.time
        )

        async def ask(after_s: int) -> None:
            await asyncio.sleep(after_s)
            sink, progress = Listening(), Progress(accepted_s=loop.time())
            error: GatewayError | None = None
            asked = request(max_tokens=50)
            try:
                await executor.infer(asked, plan, Catalog(), sink, progress, Remembering())
            except GatewayError as exc:
                error = exc
            hedged = 1 if hedge_after_s is None else 2
            assert len(progress.attempts) <= hedged * len(made) * (1 + retries) + MAX_RESUMES
            endings = [event for event in sink.seen if isinstance(event, End | Fault)]
            assert TEXT.startswith(sink.text)
            if error is not None:
                assert (sink.text, endings) == ("", [])
                return
            assert endings == [sink.seen[-1]], "one, and nothing after it"
            assert isinstance(endings[0], Fault) or sink.text == TEXT

        async with asyncio.TaskGroup() as group:
            for after_s in come_after_s:
                group.create_task(ask(after_s))
        await asyncio.sleep(2)
        assert all(pool.signals().inflight == pool.signals().queued == 0 for pool in made)
        assert [told for door in doors for told in door.wrong] == []

    with asyncio.Runner(loop_factory=looptime.new_event_loop) as runner:
        runner.run(play())
