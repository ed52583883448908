"""The work beside requests goes on whatever breaks."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from adapters.dialect import EndpointState
from gateway import background, control, honour_watch
from gateway.background import run_background, supervised
from gateway.control import Control
from tests.fakes.edge import Edge, eventually

MakeEdge = Callable[..., Awaitable[Edge]]
POLICIES = "rules: [{name: cap, then: {max_tokens: %s}}]\n"


async def test_probes_and_reloads_outlive_their_bugs_until_the_gateway_stops(
    make_edge: MakeEdge, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(background, "RESTART_S", 0.01)
    (tmp_path / "policies.yaml").write_text(POLICIES % 1)
    edge = await make_edge("policies: policies.yaml", pool="probe_interval: 10ms")
    gateway = edge.gateway
    pool = gateway.pools["main"]
    pool.learn(pool.endpoints[0], EndpointState())
    failed = {"probe": 0, "reload": 0}

    def fails_once(name: str, work: Callable[..., object]) -> Callable[..., object]:
        def tried(*given: object) -> object:
            failed[name] += 1
            if failed[name] == 1:
                raise RuntimeError("out of luck")
            return work(*given)

        return tried

    monkeypatch.setattr(pool, "learn", fails_once("probe", pool.learn))
    monkeypatch.setattr(gateway, "reload_policies", fails_once("reload", gateway.reload_policies))
    stop, hangup = asyncio.Event(), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(run_background(stop, hangup, gateway, Control(gateway)))
        await eventually(lambda: pool.ready)
        (tmp_path / "policies.yaml").write_text(POLICIES % 2)
        await eventually(lambda: failed["reload"] > 0)
        hangup.set()
        await eventually(lambda: gateway.policy.rules[0].then.max_tokens == 2)
        stop.set()
    assert min(failed.values()) > 1


@pytest.mark.req("INT-3")
async def test_the_loop_and_the_watch_over_llmd_run_as_long_as_the_gateway(
    make_edge: MakeEdge, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(background, "RESTART_S", 0.01)
    monkeypatch.setattr(control, "TICK_S", 0.01)
    monkeypatch.setattr(honour_watch, "LOOK_S", 0.01)
    edge = await make_edge()
    gateway = edge.gateway
    worked = {"tick": 0, "look": 0}

    def breaks_once(name: str, real: Callable[..., object]) -> Callable[..., object]:
        def tried(*given: object) -> object:
            worked[name] += 1
            if worked[name] == 1:
                raise RuntimeError("out of luck")
            return real(*given)

        return tried

    monkeypatch.setattr(gateway.loop, "tick", breaks_once("tick", gateway.loop.tick))
    watch = gateway.honour_watch
    monkeypatch.setattr(watch, "tell", breaks_once("look", watch.tell))
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(run_background(stop, asyncio.Event(), gateway, Control(gateway)))
        await eventually(lambda: min(worked.values()) > 2)
        assert (await edge.chat()).status == 200
        stop.set()
    failed = [r.fields["task"] for r in caplog.records if r.msg == "background_task_failed"]
    assert sorted(failed) == ["control", "honour"]


async def test_background_work_that_breaks_is_logged_and_started_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(background, "RESTART_S", 0.01)
    tries = [0]

    async def breaks_twice() -> None:
        tries[0] += 1
        if tries[0] < 3:
            raise RuntimeError("out of luck")

    await supervised("work", breaks_twice)
    assert tries == [3]
    assert len([r for r in caplog.records if r.exc_info]) == 2
