"""One attempt: its place, its record, and that it lets go of both however it ends. Virtual time."""

import asyncio

import msgspec
import pytest

from contracts.catalog import Catalog
from contracts.errors import GatewayError, QueueTimeout, UnsupportedParameter
from contracts.events import Delta, Usage
from contracts.inference import RoutingPlan, Timeouts
from gateway.dispatch import Dispatch, Run
from gateway.pools import Pool
from gateway.progress import Progress
from tests.fakes.recorder import Remembering
from tests.fakes.scripted import (
    DONE,
    ScriptedTransport,
    answer,
    chunk,
    data,
    end,
    head,
    refusal,
)
from tests.gateway.conftest import MakePool
from tests.gateway.test_executor import Listening, plan, request

pytestmark = [pytest.mark.looptime, pytest.mark.req("RUN-5", "RUN-7")]


class Scene:
    """A run that nobody has attempted yet."""

    def __init__(self, *pools: Pool) -> None:
        loop = asyncio.get_running_loop()
        self.dispatch = Dispatch({p.id: p for p in pools}, new_id=str, clock=loop.time)
        self.sink, self.recorder = Listening(), Remembering()
        self.run = Run(
            infer=request(),
            plan=plan(*pools),
            catalog=Catalog(),
            sink=self.sink,
            progress=Progress(accepted_s=loop.time()),
            recorder=self.recorder,
            resumable=None,
        )

    async def attempt(self) -> None:
        entry = self.dispatch.enter(self.run, self.run.plan.targets[0], [])
        slot = entry.given or await self.dispatch.slot(self.run, entry)
        await self.dispatch.attempt(self.run, 0, slot, is_last=True)


async def test_an_attempt_is_written_down_with_its_times(make_pool: MakePool) -> None:
    scene = Scene(make_pool("a", ScriptedTransport(answer(start_s=0.5))))
    await scene.attempt()
    (record,) = scene.run.progress.attempts
    assert (record.replica, record.fault, record.status) == ("a/1", None, None)
    assert (record.dispatched_s, record.first_token_s) == (0.0, pytest.approx(0.5))
    assert record.ended_s == pytest.approx(0.7)
    assert scene.run.progress.usage is not None
    assert not scene.run.going_on


@pytest.mark.parametrize(
    ("keeps_back", "min_tokens_per_s", "pieces"),
    [(True, None, [1, 3]), (False, None, [1, 1, 1, 1]), (True, 1.0, [1, 1, 1, 1])],
)
async def test_pieces_come_as_one_where_nobody_sees_them_nor_measures_their_pace(
    make_pool: MakePool, keeps_back: bool, min_tokens_per_s: float | None, pieces: list[int]
) -> None:
    text = b"".join(chunk({"content": word}) for word in "abcd")
    script = [head(0.1), data(0.2, text), data(0.3, chunk({}, finish="stop") + DONE), end(0.3)]
    timeouts = Timeouts(min_tokens_per_s=min_tokens_per_s)
    scene = Scene(make_pool("a", ScriptedTransport(script), timeouts=timeouts))
    scene.sink.keeps_back = keeps_back
    await scene.attempt()
    assert [event.pieces for event in scene.sink.seen if isinstance(event, Delta)] == pieces


@pytest.mark.req("OPS-4", "RUN-8")
async def test_who_sees_nothing_before_the_end_is_woken_for_that_alone(
    make_pool: MakePool,
) -> None:
    scene = Scene(make_pool("a", ScriptedTransport([*answer(start_s=0.5)[:3], data(9.0, DONE)])))
    scene.sink.keeps_back = True
    with pytest.raises(TimeoutError):  # its client leaves
        async with asyncio.timeout(5.0):
            await scene.attempt()
    assert scene.sink.seen, "there was content"
    assert scene.sink.opened == 0
    progress = scene.run.progress
    assert progress.first_token_s == pytest.approx(0.5), "and what it came to is known"
    assert progress.attempts[0].first_token_s == progress.first_token_s


@pytest.mark.req("RUN-4")
@pytest.mark.parametrize("keeps_back", [True, False])
async def test_one_that_its_sink_cuts_off_before_any_content_is_no_answer(
    make_pool: MakePool, keeps_back: bool
) -> None:
    pool = make_pool("a", ScriptedTransport(answer(start_s=5.0)))
    scene = Scene(pool)
    scene.sink.keeps_back = keeps_back

    def cut() -> None:
        assert scene.sink.attempt is not None
        scene.sink.attempt.cancel()

    asyncio.get_running_loop().call_later(1.0, cut)
    with pytest.raises(asyncio.CancelledError):
        await scene.attempt()
    assert scene.run.progress.first_token_s is None
    assert pool.signals().inflight == 0


async def test_one_that_fails_is_written_down_with_its_error(make_pool: MakePool) -> None:
    pool = make_pool("a", ScriptedTransport(refusal(503)))
    scene = Scene(pool)
    with pytest.raises(GatewayError):
        await scene.attempt()
    (record,) = scene.run.progress.attempts
    assert (record.fault, record.status) == ("upstream_unavailable", 503)
    assert record.usage is None
    assert scene.recorder.told[-1] == "failed: upstream_unavailable"
    assert pool.signals().inflight == 0


@pytest.mark.req("RUN-8")
@pytest.mark.parametrize("breaks", [True, False])
async def test_what_had_content_and_came_to_no_usage_is_written_down_as_the_gateway_counted(
    make_pool: MakePool, breaks: bool
) -> None:
    content = [data(0.1 * n, chunk({"content": "word"})) for n in range(1, 4)]
    script = [head(0.1), *content, *([end(0.4)] if breaks else [])]
    scene = Scene(make_pool("a", ScriptedTransport(script)))
    if breaks:
        await scene.attempt()
    else:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await scene.attempt()
    (record,) = scene.run.progress.attempts
    asked = scene.run.infer.facts.prompt_tokens
    assert record.usage == Usage(prompt_tokens=asked, completion_tokens=3, estimated=True)
    assert record.first_token_s == scene.run.progress.first_token_s


async def test_what_cannot_be_said_to_an_engine_is_no_attempt_at_it(make_pool: MakePool) -> None:
    engine = ScriptedTransport(answer())
    pool = make_pool("a", engine, engine="anthropic")
    scene = Scene(pool)
    scene.run = msgspec.structs.replace(scene.run, infer=request(seed=1))
    with pytest.raises(UnsupportedParameter):
        await scene.attempt()
    progress = scene.run.progress
    assert (engine.requests, progress.attempts, scene.recorder.told) == ([], [], [])
    assert (progress.target, progress.dispatched_s, progress.engine_s) == (None, None, 0.0)
    assert pool.signals().inflight == 0


async def test_a_place_waited_for_in_vain_is_left(make_pool: MakePool) -> None:
    pool = make_pool("a", ScriptedTransport(answer()), slots=1, queue_timeout_s=2.0)
    await pool.enter().slot
    scene = Scene(pool)
    with pytest.raises(QueueTimeout):
        await scene.attempt()
    assert scene.run.progress.queue_s == pytest.approx(2.0)
    assert (scene.run.progress.attempts, pool.signals().queued) == ([], 0)


async def test_each_route_has_one_budget_for_its_hedges(make_pool: MakePool) -> None:
    dispatch = Scene(make_pool("a", ScriptedTransport(answer()))).dispatch
    first = RoutingPlan(targets=(), route="r", hedge_budget=0.5)
    second = RoutingPlan(targets=(), route="s", hedge_budget=0.0)
    assert dispatch.hedge_budget(first) is dispatch.hedge_budget(first)
    assert dispatch.hedge_budget(first).allowed()
    assert not dispatch.hedge_budget(second).allowed()
