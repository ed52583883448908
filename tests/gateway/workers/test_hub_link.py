"""Workers and their hub, joined: limits, signals and decisions are those of one gateway."""

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest

from contracts.errors import NoReadyBackend, QueueFull
from gateway.entry import Entry
from gateway.slot import Slot
from policies.flight import Flight
from tests.fakes.edge import eventually
from tests.gateway.workers.several import CONFIG, Member, several

pytestmark = pytest.mark.req("OPS-9")


def enter(member: Member, count: int = 1, priority: int = 0) -> list[Entry]:
    return [member.pool.enter(priority, lane="served") for _ in range(count)]


def running(entries: list[Entry]) -> list[Entry]:
    return [
        e for e in entries if e.slot.done() and not e.slot.cancelled() and not e.slot.exception()
    ]


def end(entries: list[Entry]) -> None:
    for entry in entries:
        entry.leave()


async def test_one_worker_may_use_the_whole_limit_and_all_together_no_more(tmp_path: Path) -> None:
    async with several(tmp_path, limit=5) as gateway:
        a, b = gateway.members
        first = enter(a, 8)
        await eventually(lambda: a.pool.queue.inflight == 5)
        second = enter(b, 4)
        await asyncio.sleep(0.05)
        assert (a.pool.queue.inflight, b.pool.queue.inflight) == (5, 0)
        end(running(first))
        await eventually(lambda: b.pool.queue.inflight >= 1)
        await eventually(lambda: a.pool.queue.inflight + b.pool.queue.inflight == 5)
        end(first + second)


async def test_a_single_place_goes_round_among_those_who_wait(tmp_path: Path) -> None:
    async with several(tmp_path, limit=1, count=3) as gateway:
        waiting = [enter(member, 40) for member in gateway.members]
        served = [0, 0, 0]
        async with asyncio.timeout(10):
            while min(served) == 0:
                for number, entries in enumerate(waiting):
                    for entry in running(entries):
                        served[number] += 1
                        entries.remove(entry)
                        entry.leave()
                await asyncio.sleep(0.002)
        for entries in waiting:
            end(entries)


async def test_what_a_dead_worker_had_is_lent_to_others(tmp_path: Path) -> None:
    async with several(tmp_path, limit=4) as gateway:
        a, b = gateway.members
        held = enter(a, 4)
        await eventually(lambda: len(running(held)) == 4)
        waiting = enter(b, 4)
        await a.die()
        await eventually(lambda: len(running(waiting)) == 4)
        end(waiting)


async def test_another_hub_goes_on_with_what_was_lent_and_decided(tmp_path: Path) -> None:
    async with several(tmp_path, limit=4) as gateway:
        a, b = gateway.members
        held = enter(a, 3)
        await eventually(lambda: len(running(held)) == 3)
        gateway.pool.queue.lane("served").limit = 3.5
        await eventually(lambda: b.pool.queue.lane("served").limit == 3.5)
        gateway.pool.drain()
        await eventually(lambda: a.pool.state == "draining" and b.pool.state == "drained")
        await gateway.end_hub()
        assert len(running(held)) == 3
        await gateway.begin_hub(2, alive=(0, 1))
        await eventually(lambda: len(gateway.hub._workers) == 2)
        assert gateway.hub.lender.lent("pool:local", 0, "served") >= 3
        assert gateway.pool.queue.lane("served").limit == 3.5
        assert gateway.pool.state == "draining"
        end(held)
        await eventually(lambda: gateway.pool.state == "drained")


async def test_a_pool_that_drains_is_empty_when_every_worker_knows(tmp_path: Path) -> None:
    async with several(tmp_path) as gateway:
        gateway.pool.drain()
        assert gateway.pool.state == "draining"
        await asyncio.wait_for(gateway.pool.emptied(), 10)
        assert {member.pool.state for member in gateway.members} == {"drained"}
        gateway.pool.restore()
        gateway.be_ready(0)
        await eventually(lambda: all(m.pool.state == "serving" for m in gateway.members))


async def test_a_full_room_is_full_for_all(tmp_path: Path) -> None:
    config = """
pools:
  - {id: local, engine: openai, endpoints: ["http://127.0.0.1:9"], max_inflight: LIMIT, queue: {max_requests: 4}}
models: [{name: served, pool: local}]
"""
    async with several(tmp_path, limit=1, config=config) as gateway:
        entries: list[Entry] = []
        for _ in range(10):
            for member in gateway.members:
                entries += enter(member)
                await asyncio.sleep(0.02)
        refused = [
            e for e in entries if e.slot.done() and isinstance(e.slot.exception(), QueueFull)
        ]
        assert len(running(entries)) == 1
        assert len(entries) - len(refused) - 1 == 4
        end([entry for entry in entries if entry not in refused])


async def test_a_lost_endpoint_is_lost_for_all_until_a_probe_finds_it(tmp_path: Path) -> None:
    async with several(tmp_path) as gateway:
        a, b = gateway.members
        a.pool.lost(a.pool.endpoints[0])
        assert not a.pool.ready
        await eventually(lambda: not b.pool.ready)
        gateway.be_ready(0)
        await eventually(lambda: bool(a.pool.ready and b.pool.ready))


async def test_a_worker_leaves_the_endpoint_alone_where_another_has_work(tmp_path: Path) -> None:
    two = CONFIG.replace('["http://127.0.0.1:9"]', '["http://127.0.0.1:9", "http://127.0.0.1:10"]')
    async with several(tmp_path, config=two) as gateway:
        a, b = gateway.members
        first = enter(a)
        assert (await first[0].slot).endpoint.index == 0
        await eventually(lambda: b.pool.endpoints[0].elsewhere == 1)
        second = enter(b)
        assert (await second[0].slot).endpoint.index == 1
        end(first + second)
        await eventually(lambda: b.pool.endpoints[0].elsewhere == 0)


async def test_the_loop_hears_of_every_request(tmp_path: Path) -> None:
    policies = "intents: [{name: all, match: {default: true}, objectives: {ttft_p95: 1s}}]"
    async with several(tmp_path, policies=policies) as gateway:
        for member in gateway.members:
            for number in (1, 2):
                tell(member, number)
        loop, now_s = gateway.gateway.loop, gateway.gateway.clock
        await eventually(lambda: loop.signals.intent("all").served.sum(now_s(), 30) == 4)
        seen = loop.signals.intent("all")
        assert seen.ttft.count(now_s(), 30) == 4
        assert seen.tokens.sum(now_s(), 30) == 40
        lane = loop.signals.lane(("local", "served"))
        assert lane.dispatched.sum(now_s(), 30) == 4


def tell(member: Member, number: int) -> None:
    """One request from beginning to end."""
    loop, now_s = member.gateway.loop, member.gateway.clock()
    flight = Flight(
        number,
        intent="all",
        model="served",
        lane=("local", "served"),
        caller="",
        priority=0,
        prompt_tokens=5,
        arrived_s=now_s,
    )
    loop.offered(flight)
    loop.dispatched(flight, flight.lane, 0.0, now_s)
    loop.first_token(flight, now_s + 0.1)
    loop.ended(flight, now_s + 0.2, output_tokens=10)


async def test_a_worker_that_joins_hears_what_holds(tmp_path: Path) -> None:
    async with several(tmp_path) as gateway:
        gateway.pool.queue.lane("served").limit = 2.5
        gateway.pool.queue.lane("served").hold_back({5: 0.5})
        late = gateway.join(2, 3)
        gateway.members.append(late)
        await asyncio.wait_for(late.link.ready.wait(), 10)
        lane = late.pool.queue.lane("served")
        assert (lane.limit, dict(lane.held_back)) == (2.5, {5: 0.5})


async def test_one_banner_is_told_when_all_listen(tmp_path: Path) -> None:
    async with several(tmp_path) as gateway:
        gateway.members[0].link.listens("http://127.0.0.1:1")
        await asyncio.sleep(0.05)
        assert gateway.banners == []
        for _ in range(2):
            gateway.members[1].link.listens("http://127.0.0.1:1")
        await eventually(lambda: len(gateway.banners) == 1)
        assert "http://127.0.0.1:1" in gateway.banners[0]


async def test_a_rule_sees_the_whole_pool(tmp_path: Path) -> None:
    async with several(tmp_path, limit=4) as gateway:
        a, b = gateway.members
        held = [*enter(a, 2), *enter(b, 1)]
        await eventually(lambda: a.pool.signals().inflight == 3 == b.pool.signals().inflight)
        assert a.pool.signals().limit == 4
        end(held)


async def test_a_test_of_the_hubs_takes_a_place_of_the_limit(tmp_path: Path) -> None:
    async with several(tmp_path, limit=2) as gateway:
        slots: list[Slot] = []

        def test() -> bool:
            with suppress(NoReadyBackend):
                slots.append(gateway.pool.enter(-100, lane="served").slot.result())
            return bool(slots)

        await eventually(test)  # both have a place in hand, and one of them gives it back
        waiting = enter(gateway.members[0], 2)
        await asyncio.sleep(0.05)
        assert len(running(waiting)) == 1
        slots[0].release()
        await eventually(lambda: len(running(waiting)) == 2)
        end(waiting)


async def test_a_pool_that_came_back_has_its_limit_to_the_last_place(tmp_path: Path) -> None:
    async with several(tmp_path, limit=3) as gateway:
        a, b = gateway.members
        for member in gateway.members:
            end(enter(member, 2))
        gateway.pool.drain()
        await eventually(lambda: {m.pool.state for m in gateway.members} == {"drained"})
        gateway.pool.restore()
        gateway.gateway.loop.forget("local", gateway.gateway.clock())
        gateway.be_ready(0)
        await eventually(lambda: all(m.pool.state == "serving" for m in gateway.members))
        for one, other in ((a, b), (b, a)):
            first = enter(one, 5)
            await eventually(lambda m=one: m.pool.queue.inflight == 3)  # type: ignore[misc]  # it is bound
            second = enter(other, 5)
            await asyncio.sleep(0.05)
            assert one.pool.queue.inflight + other.pool.queue.inflight == 3
            end(first)
            await eventually(lambda m=other: m.pool.queue.inflight == 3)  # type: ignore[misc]  # it is bound
            end(second)


async def test_a_model_does_not_use_what_was_lent_for_another(tmp_path: Path) -> None:
    async with several(tmp_path, limit=4) as gateway:
        pool = gateway.members[0].pool
        assert pool.queue.settings.limit > 0
        entry = pool.enter(lane="other")
        assert not entry.slot.done()
        await eventually(entry.slot.done)
        assert (pool.queue.lane("other").share or 0) >= 1
        end([entry])
