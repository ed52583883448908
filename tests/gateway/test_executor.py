"""Attempts one after the other: retries, fallback, timeouts, and who gets to see what. Virtual time."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence

import msgspec
import pytest

from contracts.catalog import Catalog
from contracts.errors import (
    ConnectFailed,
    GatewayError,
    NoReadyBackend,
    QueueTimeout,
    StreamBroken,
    UpstreamFault,
    UpstreamTimeout,
)
from contracts.events import Delta, End, Event, Fault
from contracts.inference import InferRequest, RoutingPlan, Target, Timeouts
from gateway.attempt import Upstream
from gateway.endpoint import Endpoint
from gateway.entry import Entry
from gateway.executor import Executor
from gateway.intake import read_request
from gateway.pools import Pool
from gateway.progress import Progress
from gateway.receiving import LINGER_S
from tests.fakes.recorder import Remembering
from tests.fakes.scripted import (
    DONE,
    USAGE,
    Script,
    ScriptedTransport,
    answer,
    broken,
    chunk,
    data,
    end,
    head,
    refusal,
    unreachable,
)

MakePool = Callable[..., Pool]
pytestmark = [pytest.mark.looptime, pytest.mark.req("RUN-1", "RUN-5", "RUN-6")]


class Listening:
    """A sink that remembers."""

    def __init__(self, patience_s: float | None = None, *, keeps_back: bool = False) -> None:
        self.keeps_back = keeps_back
        self.patience_s = patience_s
        self.seen: list[Event] = []
        self.opened = 0
        self.entries: list[Entry] = []
        self.waits = 0
        self.attempt: Upstream | None = None
        self.served_by = ""

    async def open(self, progress: Progress) -> None:
        self.opened += 1

    def entered(self, entry: Entry) -> None:
        self.entries.append(entry)

    async def waiting(self, progress: Progress) -> None:
        self.waits += 1

    def events(self, events: list[Event]) -> None:
        self.seen += events

    def attach(self, attempt: Upstream, model: str) -> None:
        self.attempt = attempt
        self.served_by = model
        self.seen.clear()

    @property
    def text(self) -> str:
        return "".join(event.content for event in self.seen if isinstance(event, Delta))


def request(**fields: object) -> InferRequest:
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], **fields}
    return read_request(msgspec.json.encode(body), "chat", request_id="req_1", key="", headers={})


def plan(*pools: Pool) -> RoutingPlan:
    return RoutingPlan(
        targets=tuple(
            Target(model=f"m{i}", pool=p.id, upstream=f"up{i}") for i, p in enumerate(pools)
        )
    )


async def run(
    *pools: Pool,
    infer: InferRequest | None = None,
    sink: Listening | None = None,
    draw: float = 1.0,
) -> tuple[Listening, Progress]:
    sink = sink or Listening()
    loop = asyncio.get_running_loop()
    executor = Executor(
        {pool.id: pool for pool in pools},
        draw=lambda: draw,
        new_id=lambda: "call_1",
        clock=loop.time,
    )
    progress = Progress(accepted_s=loop.time())
    await executor.infer(infer or request(), plan(*pools), Catalog(), sink, progress, Remembering())
    return sink, progress


async def failure(
    *pools: Pool, infer: InferRequest | None = None, sink: Listening | None = None
) -> GatewayError:
    with pytest.raises(GatewayError) as caught:
        await run(*pools, infer=infer, sink=sink)
    return caught.value


def free(pool: Pool) -> bool:
    return pool.signals().inflight == 0 and all(e.inflight == 0 for e in pool.endpoints)


async def test_a_healthy_stream_arrives_whole_and_timed(make_pool: MakePool) -> None:
    pool = make_pool("a", ScriptedTransport(answer(("Hel", "lo"), start_s=0.1, gap_s=0.1)))
    sink, progress = await run(pool)
    assert sink.text == "Hello"
    assert isinstance(sink.seen[-1], End)
    assert progress.first_token_s == pytest.approx(0.1), (
        "headers and role deltas are no first token"
    )
    assert progress.tpot_s == pytest.approx(0.2)
    assert progress.usage is not None
    assert progress.usage.completion_tokens == 2
    await asyncio.sleep(0)  # the connection's own end comes right behind
    assert free(pool)


async def test_a_fault_before_the_first_token_is_tried_again(make_pool: MakePool) -> None:
    transport = ScriptedTransport(refusal(500), answer())
    sink, progress = await run(make_pool("a", transport, retries=1))
    assert sink.text == "Hello"
    assert [a.fault for a in progress.attempts] == ["upstream_error", None]


async def test_attempts_are_bounded_and_the_engines_own_error_comes_out(
    make_pool: MakePool,
) -> None:
    transport = ScriptedTransport(refusal(503, b'{"error":{"message":"too busy"}}'))
    error = await failure(make_pool("a", transport, retries=2))
    assert len(transport.requests) == 3
    assert (error.status, error.message) == (503, "too busy")


@pytest.mark.parametrize("status", [400, 413, 422])
async def test_a_request_at_fault_is_sent_once_to_one_target(
    make_pool: MakePool, status: int
) -> None:
    first, second = ScriptedTransport(refusal(status)), ScriptedTransport(answer())
    error = await failure(make_pool("a", first), make_pool("b", second))
    assert error.status == status
    assert (len(first.requests), len(second.requests)) == (1, 0)


async def test_when_a_target_fails_the_next_one_answers(make_pool: MakePool) -> None:
    first, second = ScriptedTransport(unreachable()), ScriptedTransport(answer())
    sink, progress = await run(make_pool("a", first, retries=0), make_pool("b", second))
    assert sink.text == "Hello"
    assert progress.target is not None
    assert progress.target.model == "m1"
    assert sink.served_by == "m1", "an answer names the model that gave it"
    assert b'"model":"up1"' in second.requests[0].body


async def test_retry_after_is_honoured_when_it_is_short(make_pool: MakePool) -> None:
    transport = ScriptedTransport(refusal(429, retry_after="2"), answer())
    await run(make_pool("a", transport, retries=1))
    assert transport.started_s[1] - transport.started_s[0] >= 2.0


async def test_a_refusal_without_retry_after_waits_for_the_reset_of_what_is_used_up(
    make_pool: MakePool,
) -> None:
    told = {"x_ratelimit_remaining_tokens": "0", "x_ratelimit_reset_tokens": "2s"}
    transport = ScriptedTransport(refusal(429, b"{}", **told), answer())
    await run(make_pool("a", transport, retries=1))
    assert transport.started_s[1] - transport.started_s[0] >= 2.0
    told = {"x_ratelimit_remaining_tokens": "0", "x_ratelimit_reset_tokens": "6m0s"}
    error = await failure(make_pool("b", ScriptedTransport(refusal(429, b"{}", **told))))
    assert (error.status, error.retry_after_s) == (429, 360.0)
    error = await failure(
        make_pool("c", ScriptedTransport(refusal(429, b"{}", retry_after="60", **told)))
    )
    assert error.retry_after_s == 60.0


async def test_no_reset_is_told_of_a_quota_that_is_used_up(make_pool: MakePool) -> None:
    told = {"x_ratelimit_remaining_tokens": "0", "x_ratelimit_reset_tokens": "2s"}
    body = b'{"error":{"message":"no","code":"insufficient_quota"}}'
    error = await failure(make_pool("a", ScriptedTransport(refusal(429, body, **told))))
    assert error.retry_after_s is None


async def test_a_date_to_retry_after_counts_also_where_the_answer_has_none(
    make_pool: MakePool,
) -> None:
    past = "Sun, 06 Nov 1994 08:49:37 GMT"
    error = await failure(
        make_pool("a", ScriptedTransport(refusal(429, retry_after=past)), retries=0)
    )
    assert error.retry_after_s == 0.0


async def test_a_long_retry_after_goes_to_the_next_target_or_the_client(
    make_pool: MakePool,
) -> None:
    first, second = ScriptedTransport(refusal(429, retry_after="60")), ScriptedTransport(answer())
    await run(make_pool("a", first, retries=3), make_pool("b", second))
    assert len(first.requests) == 1
    error = await failure(make_pool("c", ScriptedTransport(refusal(429, retry_after="60"))))
    assert (error.status, error.retry_after_s) == (429, 60.0)


async def test_a_silent_engine_is_left_for_the_next_target_at_once(make_pool: MakePool) -> None:
    limits = Timeouts(first_token_s=2.0, idle_s=10.0)
    silent = ScriptedTransport([head(0.1)])
    second = ScriptedTransport(answer())
    sink, _ = await run(
        make_pool("a", silent, timeouts=limits, retries=3), make_pool("b", second, timeouts=limits)
    )
    assert sink.text == "Hello"
    assert len(silent.requests) == 1, "it would be silent again"
    assert silent.exchanges[0].cancelled_at_s == pytest.approx(2.0)


async def test_a_silent_endpoint_is_left_for_its_sibling_when_a_retry_is_left(
    make_pool: MakePool,
) -> None:
    limits = Timeouts(first_token_s=2.0, idle_s=10.0)
    silent, other = ScriptedTransport([head(0.1)]), ScriptedTransport(answer())
    sink, _ = await run(make_pool("a", silent, other, timeouts=limits, retries=1))
    assert sink.text == "Hello"
    assert silent.exchanges[0].cancelled_at_s == pytest.approx(2.0)


async def test_an_endpoint_that_asks_for_patience_does_not_hold_up_its_sibling(
    make_pool: MakePool,
) -> None:
    busy = ScriptedTransport(refusal(429, retry_after="60"))
    sink, _ = await run(make_pool("a", busy, ScriptedTransport(answer()), retries=1))
    assert sink.text == "Hello"
    assert len(busy.requests) == 1
    assert asyncio.get_running_loop().time() < 1.0


async def test_the_last_attempt_may_take_its_time_to_the_first_token(make_pool: MakePool) -> None:
    limits = Timeouts(first_token_s=1.0, idle_s=60.0)
    sink, _ = await run(make_pool("a", ScriptedTransport(answer(start_s=20.0)), timeouts=limits))
    assert sink.text == "Hello"


async def test_an_idle_stream_ends_with_a_fault_and_not_as_a_short_answer(
    make_pool: MakePool,
) -> None:
    pool = make_pool(
        "a",
        ScriptedTransport([head(0.1), data(0.1, chunk({"content": "Hel"}))]),
        timeouts=Timeouts(idle_s=3.0),
    )
    sink, progress = await run(pool)
    assert sink.text == "Hel"
    (fault,) = [event for event in sink.seen if isinstance(event, Fault)]
    assert isinstance(fault.error, UpstreamTimeout)
    assert isinstance(progress.fault, UpstreamTimeout)
    assert asyncio.get_running_loop().time() == pytest.approx(3.1)
    assert free(pool)


async def test_pings_during_a_stream_do_not_keep_it_alive(make_pool: MakePool) -> None:
    pings = [data(0.5 * n, b": ping\n\n") for n in range(1, 40)]
    script: Script = [head(0.1), data(0.1, chunk({"content": "Hel"})), *pings]
    sink, _ = await run(make_pool("a", ScriptedTransport(script), timeouts=Timeouts(idle_s=3.0)))
    assert isinstance(sink.seen[-1], Fault)
    assert asyncio.get_running_loop().time() < 5.0


async def test_pings_before_the_first_token_do(make_pool: MakePool) -> None:
    pings = [data(1.0 * n, b": keepalive\n\n") for n in range(1, 20)]
    script: Script = [head(0.1), *pings, *answer(start_s=20.0)[1:]]
    sink, _ = await run(make_pool("a", ScriptedTransport(script), timeouts=Timeouts(idle_s=3.0)))
    assert sink.text == "Hello"


async def test_no_answer_takes_longer_than_its_total(make_pool: MakePool) -> None:
    endless = [head(0.1), *(data(0.5 * n, chunk({"content": "x"})) for n in range(1, 100))]
    sink, _ = await run(make_pool("a", ScriptedTransport(endless), timeouts=Timeouts(total_s=10.0)))
    assert isinstance(sink.seen[-1], Fault)
    assert asyncio.get_running_loop().time() == pytest.approx(10.0)


@pytest.mark.parametrize(
    "last_words",
    [
        [end(0.3)],
        [data(0.3, DONE), end(0.3)],
        [broken(0.3, StreamBroken("cut", fault="stream_broken"))],
        [data(0.3, b'data: {"error":{"message":"engine died"}}\n\n'), data(0.3, DONE), end(0.3)],
        [data(0.3, b"data: {half\n\n"), end(0.3)],
    ],
)
async def test_a_stream_that_dies_after_content_is_a_fault_and_is_not_tried_again(
    make_pool: MakePool, last_words: Script
) -> None:
    transport = ScriptedTransport([head(0.1), data(0.2, chunk({"content": "Hel"})), *last_words])
    other = ScriptedTransport(answer())
    pool = make_pool("a", transport, retries=3)
    sink, progress = await run(pool, make_pool("b", other))
    assert sink.text == "Hel"
    assert [type(event) for event in sink.seen].count(Fault) == 1
    assert isinstance(sink.seen[-1], Fault)
    assert progress.fault is not None
    assert len(transport.requests) == 1
    assert other.requests == []
    assert free(pool)


async def test_an_answer_that_is_kept_back_starts_over_when_its_stream_dies(
    make_pool: MakePool,
) -> None:
    dying = [head(0.1), data(0.2, chunk({"content": "Hel"})), end(0.3)]
    pool = make_pool("a", ScriptedTransport(dying, answer()), retries=1)
    sink, progress = await run(pool, sink=Listening(keeps_back=True))
    assert sink.text == "Hello"
    assert progress.fault is None
    assert [a.fault for a in progress.attempts] == ["upstream_stream_broken", None]


async def test_time_is_booked_where_it_was_spent(make_pool: MakePool) -> None:
    pool = make_pool("a", ScriptedTransport(refusal(500), answer(start_s=0.1, gap_s=0.1)), slots=1)
    held = await pool.enter(0).slot
    asyncio.get_running_loop().call_later(0.5, held.release)
    _, progress = await run(pool)
    assert progress.queue_s == pytest.approx(0.5)
    assert progress.engine_s == pytest.approx(0.01 + 0.3)
    assert progress.backoff_s == pytest.approx(0.1)


async def test_waiting_in_vain_is_queue_time_too(make_pool: MakePool) -> None:
    pool = make_pool("a", ScriptedTransport(answer()), slots=1, queue_timeout_s=2)
    await pool.enter(0).slot
    loop = asyncio.get_running_loop()
    executor = Executor({"a": pool}, draw=lambda: 1.0, new_id=str, clock=loop.time)
    progress = Progress(accepted_s=loop.time())
    with pytest.raises(QueueTimeout):
        await executor.infer(request(), plan(pool), Catalog(), Listening(), progress, Remembering())
    assert progress.queue_s == pytest.approx(2.0)


async def test_a_bug_between_slot_and_dispatch_gives_the_slot_back(make_pool: MakePool) -> None:
    class Broken(Listening):
        def attach(self, attempt: Upstream, model: str) -> None:
            raise RuntimeError

    pool = make_pool("a", ScriptedTransport(answer()), slots=1)
    with pytest.raises(RuntimeError):
        await run(pool, sink=Broken())
    assert free(pool)


async def test_an_error_event_before_content_is_tried_elsewhere(make_pool: MakePool) -> None:
    failing = ScriptedTransport(
        [
            head(0.1),
            data(0.2, b'data: {"error":{"message":"overloaded","type":"overloaded_error"}}\n\n'),
        ]
    )
    sink, _ = await run(
        make_pool("a", failing, retries=0), make_pool("b", ScriptedTransport(answer()))
    )
    assert sink.text == "Hello"


async def test_a_whole_stream_without_its_end_marker_is_complete_at_once(
    make_pool: MakePool,
) -> None:
    script = [
        head(0.1),
        data(0.1, chunk({"content": "Hi"})),
        data(0.2, chunk({}, finish="stop") + USAGE),
    ]
    pool = make_pool("a", ScriptedTransport(script))
    sink, _ = await run(pool)
    assert isinstance(sink.seen[-1], End)
    assert asyncio.get_running_loop().time() == pytest.approx(0.2)
    assert not free(pool), "the engine has not hung up yet"
    await asyncio.sleep(LINGER_S)
    assert free(pool)


async def test_a_whole_stream_without_usage_and_end_marker_is_complete_after_a_moment(
    make_pool: MakePool,
) -> None:
    script = [head(0.1), data(0.1, chunk({"content": "Hi"})), data(0.2, chunk({}, finish="stop"))]
    pool = make_pool("a", ScriptedTransport(script))
    sink, progress = await run(pool)
    assert isinstance(sink.seen[-1], End)
    assert progress.usage is not None
    assert progress.usage.estimated
    assert asyncio.get_running_loop().time() == pytest.approx(0.2 + LINGER_S)
    assert free(pool)


async def test_a_connection_cut_after_the_finish_marker_takes_nothing_away(
    make_pool: MakePool,
) -> None:
    cut = broken(0.3, StreamBroken("cut", fault="stream_broken"))
    script = [head(0.1), data(0.1, chunk({"content": "Hi"}) + chunk({}, finish="stop")), cut]
    sink, progress = await run(make_pool("a", ScriptedTransport(script)))
    assert isinstance(sink.seen[-1], End)
    assert progress.fault is None


@pytest.mark.parametrize("when_s", [0.01, 0.07, 0.15])
async def test_a_client_that_leaves_takes_the_attempt_with_it(
    make_pool: MakePool, when_s: float
) -> None:
    transport = ScriptedTransport(answer(("a",) * 50))
    pool = make_pool("a", transport)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(when_s):
            await run(pool)
    assert transport.exchanges[0].cancelled_at_s == pytest.approx(when_s)
    assert free(pool)


async def test_a_client_that_leaves_the_queue_never_reaches_a_backend(make_pool: MakePool) -> None:
    transport = ScriptedTransport(answer(("a",) * 50))
    pool = make_pool("a", transport, slots=1)
    held = await pool.enter(0).slot
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await run(pool)
    held.release()
    await asyncio.sleep(0)
    assert transport.requests == []
    assert free(pool)


@pytest.mark.parametrize("queued", [True, False])
async def test_a_client_whose_connection_breaks_frees_everything(
    make_pool: MakePool, queued: bool
) -> None:
    class Gone(Listening):
        async def open(self, progress: Progress) -> None:
            raise ConnectionResetError

        async def waiting(self, progress: Progress) -> None:
            raise ConnectionResetError

    pool = make_pool("a", ScriptedTransport(answer(("a",) * 50)), slots=1)
    held = await pool.enter(0).slot if queued else None
    with pytest.raises(ConnectionResetError):
        await run(pool, sink=Gone(patience_s=1.0))
    if held is not None:
        held.release()
    assert free(pool)
    assert pool.signals().queued == 0


async def test_a_full_pool_hands_over_to_the_next_target(make_pool: MakePool) -> None:
    full = make_pool("a", ScriptedTransport(answer()), slots=1, max_waiting=0)
    await full.enter(0).slot
    sink, progress = await run(full, make_pool("b", ScriptedTransport(answer())))
    assert sink.text == "Hello"
    assert len(progress.attempts) == 1


async def test_without_any_ready_backend_the_client_is_told_when_to_come_back(
    make_pool: MakePool,
) -> None:
    error = await failure(make_pool("a", ScriptedTransport(answer()), ready=False))
    assert isinstance(error, NoReadyBackend)
    assert error.retry_after_s is not None


async def test_a_real_fault_is_reported_rather_than_the_missing_fallback(
    make_pool: MakePool,
) -> None:
    error = await failure(
        make_pool(
            "a", ScriptedTransport(refusal(429, b'{"error":{"message":"slow down"}}')), retries=0
        ),
        make_pool("b", ScriptedTransport(answer()), ready=False),
    )
    assert error.message == "slow down"


async def test_an_unreachable_endpoint_gets_no_more_work_until_it_is_probed(
    make_pool: MakePool,
) -> None:
    dead, alive = ScriptedTransport(unreachable()), ScriptedTransport(answer())
    pool = make_pool("a", dead, alive, retries=1)
    for _ in range(3):
        sink, _progress = await run(pool)
        assert sink.text == "Hello"
    assert len(dead.requests) == 1


async def test_a_long_wait_is_told_to_the_sink_in_the_queue_and_before_the_first_token(
    make_pool: MakePool,
) -> None:
    pool = make_pool("a", ScriptedTransport(answer(start_s=2.5)), slots=1)
    held = await pool.enter(0).slot
    asyncio.get_running_loop().call_later(2.5, held.release)
    sink, _ = await run(pool, sink=Listening(patience_s=1.0))
    assert sink.waits == 4
    assert sink.text == "Hello"


async def test_a_slow_reader_pauses_the_engine_and_does_not_count_as_its_silence(
    make_pool: MakePool,
) -> None:
    transport = ScriptedTransport(answer(("a", "b", "c")))
    pool = make_pool("a", transport, timeouts=Timeouts(idle_s=2.0))
    sink = Listening()
    loop = asyncio.get_running_loop()

    def hold() -> None:
        assert sink.attempt is not None
        sink.attempt.pause()
        loop.call_later(5.0, sink.attempt.resume)

    loop.call_later(0.15, hold)
    await run(pool, sink=sink)
    assert sink.text == "abc"
    assert transport.exchanges[0].pauses == 1
    assert loop.time() > 5.0


async def test_two_choices_are_complete_only_when_both_are(make_pool: MakePool) -> None:
    script = [
        head(0.1),
        data(0.1, chunk({"content": "a"}) + chunk({"content": "b"}, index=1)),
        data(0.2, chunk({}, finish="stop")),
        data(0.3, DONE),
        end(0.3),
    ]
    sink, _ = await run(make_pool("a", ScriptedTransport(script)), infer=request(n=2))
    assert isinstance(sink.seen[-1], Fault)


async def test_faults_name_the_endpoint_by_number_only(make_pool: MakePool) -> None:
    error = await failure(make_pool("a", ScriptedTransport(unreachable()), retries=0))
    assert isinstance(error, ConnectFailed)
    assert isinstance(error, UpstreamFault)
    assert error.where == "pool a, endpoint 1"


# -- who records ----------------------------------------------------------------------------


async def recorded(*pools: Pool, sink: Listening | None = None) -> list[str]:
    """What the recorder of one request was told, until the end or the error."""
    loop, recorder = asyncio.get_running_loop(), Remembering()
    executor = Executor(
        {pool.id: pool for pool in pools}, draw=lambda: 0.0, new_id=str, clock=loop.time
    )
    progress = Progress(accepted_s=loop.time())
    with contextlib.suppress(GatewayError):
        await executor.infer(
            request(), plan(*pools), Catalog(), sink or Listening(), progress, recorder
        )
    return recorder.told


@pytest.mark.req("INT-4")
async def test_a_recorder_hears_of_every_step_of_every_attempt(make_pool: MakePool) -> None:
    pool = make_pool("a", ScriptedTransport(refusal(500)), ScriptedTransport(answer()))
    assert await recorded(pool) == [
        "dispatched to pool a, endpoint 1",
        "failed: upstream_error",
        "dispatched to pool a, endpoint 2",
        "head",
        "first token",
    ]


async def test_a_fault_after_content_is_no_failed_attempt_for_a_client_that_has_seen_it(
    make_pool: MakePool,
) -> None:
    dying = [head(0.1), data(0.2, chunk({"content": "Hel"})), end(0.3)]
    for keeps_back, last in ((False, "first token"), (True, "failed: upstream_stream_broken")):
        pool = make_pool("a", ScriptedTransport(dying), retries=0)
        told = await recorded(pool, sink=Listening(keeps_back=keeps_back))
        assert told[-1] == last


async def test_who_finds_no_place_was_never_dispatched(make_pool: MakePool) -> None:
    full = make_pool("a", ScriptedTransport(answer()), slots=1, max_waiting=0)
    await full.enter().slot
    assert await recorded(full) == []
    assert await recorded(make_pool("b", ScriptedTransport(answer()), ready=False)) == []


async def test_the_queue_is_asked_by_the_recorder_and_told_whom_to_avoid(
    make_pool: MakePool,
) -> None:
    pool = make_pool("a", ScriptedTransport(unreachable()), ScriptedTransport(answer()))
    asked: list[tuple[str, list[str]]] = []

    class Asking(Remembering):
        def enter(self, pool: Pool, target: Target, avoid: Sequence[Endpoint]) -> Entry:
            asked.append((target.upstream, [endpoint.where for endpoint in avoid]))
            return super().enter(pool, target, avoid)

    loop = asyncio.get_running_loop()
    executor = Executor({"a": pool}, draw=lambda: 0.0, new_id=str, clock=loop.time)
    progress = Progress(accepted_s=loop.time())
    await executor.infer(request(), plan(pool), Catalog(), Listening(), progress, Asking())
    assert asked == [("up0", []), ("up0", ["pool a, endpoint 1"])]


async def test_the_sink_is_told_of_every_place_that_is_asked_for(make_pool: MakePool) -> None:
    first = make_pool("a", ScriptedTransport(unreachable()))
    second = make_pool("b", ScriptedTransport(answer()))
    sink, _ = await run(first, second)
    assert [entry.slot.result().endpoint for entry in sink.entries] == [
        *first.endpoints,
        *second.endpoints,
    ]


async def test_what_a_fallback_cannot_be_told_does_not_hide_why_it_was_asked(
    make_pool: MakePool,
) -> None:
    sick = ScriptedTransport(refusal(503, b'{"error":{"message":"too busy"}}'))
    other = ScriptedTransport(answer())
    pools = make_pool("a", sick, retries=0), make_pool("b", other, engine="anthropic")
    with pytest.raises(GatewayError) as caught:
        await run(*pools, infer=request(logprobs=True))
    assert (caught.value.message, other.requests) == ("too busy", [])


async def test_what_the_first_target_cannot_be_told_is_refused_at_once(make_pool: MakePool) -> None:
    able = ScriptedTransport(answer())
    pools = make_pool("a", ScriptedTransport(answer()), engine="anthropic"), make_pool("b", able)
    with pytest.raises(GatewayError, match="logprobs"):
        await run(*pools, infer=request(logprobs=True))
    assert able.requests == []


@pytest.mark.parametrize(
    ("contexts", "answers"),
    [
        ((10, 20), True),
        ((10, 10), False),
        ((10, None), False),
        ((None, 20), True),
        ((None, 8), False),
        ((None, None), False),
    ],
)
async def test_a_prompt_that_does_not_fit_goes_only_to_a_model_that_is_known_to_hold_more(
    make_pool: MakePool, contexts: tuple[int | None, ...], answers: bool
) -> None:
    """F12. Of a target that does not tell how much it holds, the prompt itself is what did not fit."""
    asked = request()
    eight_tokens = msgspec.structs.replace(
        asked, facts=msgspec.structs.replace(asked.facts, prompt_tokens=8)
    )
    full = b'{"error":{"message":"too long","code":"context_length_exceeded"}}'
    first, second = ScriptedTransport(refusal(400, full)), ScriptedTransport(answer())
    pools = make_pool("a", first), make_pool("b", second)
    for pool, context in zip(pools, contexts, strict=True):
        state = msgspec.structs.replace(pool.endpoints[0].state, context=context)
        pool.learn(pool.endpoints[0], state)
    if answers:
        sink, _ = await run(*pools, infer=eight_tokens)
        assert sink.text == "Hello"
    else:
        error = await failure(*pools, infer=eight_tokens)
        assert (error.status, error.code) == (400, "context_length_exceeded")
    assert (len(first.requests), len(second.requests)) == (1, int(answers))


async def test_a_fallback_that_is_down_makes_the_attempt_before_it_the_last(
    make_pool: MakePool,
) -> None:
    """Its slow first token is better than an error."""
    slow = make_pool("a", ScriptedTransport(answer(start_s=20)), timeouts=Timeouts(first_token_s=5))
    sink, _ = await run(slow, make_pool("b", ScriptedTransport(answer()), ready=False))
    assert sink.text == "Hello"


def crawls(pieces: int, gap_s: float) -> Script:
    return answer(("word ",) * pieces, start_s=1, gap_s=gap_s)


FLOOR = Timeouts(min_tokens_per_s=2)


async def test_a_folded_answer_that_crawls_is_asked_for_elsewhere(make_pool: MakePool) -> None:
    crawling = make_pool("a", ScriptedTransport(crawls(100, 1.0)), timeouts=FLOOR)
    sink, progress = await run(
        crawling, make_pool("b", ScriptedTransport(answer())), sink=Listening(keeps_back=True)
    )
    assert sink.text == "Hello"
    assert [a.fault for a in progress.attempts] == ["upstream_too_slow", None]
    assert progress.attempts[0].ended_s == pytest.approx(11), "ten seconds after the first token"


async def test_a_stream_that_crawls_is_left_alone_where_nothing_can_go_on_with_it(
    make_pool: MakePool,
) -> None:
    crawling = make_pool("a", ScriptedTransport(crawls(20, 1.0)), timeouts=FLOOR)
    sink, _ = await run(crawling, make_pool("b", ScriptedTransport(answer())))
    assert sink.text == "word " * 20


async def test_an_answer_that_crawls_at_the_last_place_is_better_than_none(
    make_pool: MakePool,
) -> None:
    crawling = make_pool("a", ScriptedTransport(crawls(20, 1.0)), timeouts=FLOOR)
    sink, _ = await run(crawling, sink=Listening(keeps_back=True))
    assert sink.text == "word " * 20


async def test_a_pace_above_the_floor_is_no_fault(make_pool: MakePool) -> None:
    """Long pieces count as several tokens."""
    quick = make_pool("a", ScriptedTransport(crawls(100, 0.45)), timeouts=FLOOR)
    long = answer(("four words or more ",) * 20, start_s=1, gap_s=1.5)
    packed = make_pool("c", ScriptedTransport(long), timeouts=FLOOR)
    for pool in (quick, packed):
        sink = Listening(keeps_back=True)
        _, progress = await run(pool, make_pool("b", ScriptedTransport(answer())), sink=sink)
        assert [a.fault for a in progress.attempts] == [None]


async def test_a_reader_who_pauses_does_not_make_an_engine_slow(make_pool: MakePool) -> None:
    spoken_s = [1 + 0.4 * n for n in range(10)] + [9 + 0.4 * n for n in range(60)]
    pieces = [data(at_s, chunk({"content": "word "})) for at_s in spoken_s]
    last = data(34, chunk({}, finish="stop") + USAGE + DONE)
    transport = ScriptedTransport([head(0.1), *pieces, last, end(34)])
    sink = Listening(keeps_back=True)
    pools = make_pool("a", transport, timeouts=FLOOR), make_pool("b", ScriptedTransport(answer()))
    async with asyncio.TaskGroup() as group:
        running = group.create_task(run(*pools, sink=sink))
        await asyncio.sleep(5)
        assert sink.attempt is not None
        for pause_s in (4, 12):  # within a window, and over the end of one
            sink.attempt.pause()
            await asyncio.sleep(pause_s)
            sink.attempt.resume()
            await asyncio.sleep(3)
    _, progress = running.result()
    assert [a.fault for a in progress.attempts] == [None]


async def test_a_slow_first_token_is_waited_for_where_no_retry_may_follow(
    make_pool: MakePool,
) -> None:
    """A budget that is used up makes an attempt the last one, as a missing endpoint does."""
    slow, other = ScriptedTransport(answer(start_s=20.0)), ScriptedTransport(answer())
    limits = Timeouts(first_token_s=5.0, idle_s=60.0)
    sink, _ = await run(make_pool("a", slow, other, timeouts=limits, retry_budget=0.0))
    assert sink.text == "Hello"
    assert len(slow.requests) == 1


async def test_how_long_it_may_take_is_decided_when_it_is_sent_and_not_when_it_comes(
    make_pool: MakePool,
) -> None:
    slow = make_pool(
        "a",
        ScriptedTransport(answer(start_s=20.0)),
        slots=1,
        timeouts=Timeouts(first_token_s=5.0, idle_s=60.0),
    )
    other = make_pool("b", ScriptedTransport(answer()))
    held = await slow.enter().slot
    loop = asyncio.get_running_loop()
    loop.call_later(1.0, lambda: other.lost(other.endpoints[0]))
    loop.call_later(2.0, held.release)
    sink, _ = await run(slow, other)
    assert sink.text == "Hello", "its fallback has gone while it waited"
