"""What is received of an attempt, in virtual time: what reaches the sink, what is counted, and that it ends."""

import asyncio
import gc
from collections.abc import Callable, Coroutine
from typing import Any

import looptime
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.dialect import AttemptContext
from adapters.splice import TextSink
from contracts.errors import StreamBroken, UpstreamFault
from contracts.events import Delta, End, Event, Fault, Finish, Opened, UsageReport
from contracts.inference import Timeouts
from gateway.receiving import ERROR_BODY_BYTES, LINGER_S
from tests.fakes.recorder import Remembering
from tests.fakes.scripted import (
    DONE,
    USAGE,
    Script,
    answer,
    broken,
    chunk,
    data,
    end,
    head,
    refusal,
)
from tests.gateway.attempt_scene import MakePool, Scene, request

pytestmark = [pytest.mark.looptime, pytest.mark.req("RUN-1", "RUN-5", "RUN-6")]


# -- error answers --------------------------------------------------------------------------


@pytest.mark.req("SEC-5")
async def test_an_error_answer_without_end_is_read_no_further_than_its_bound(
    make_pool: MakePool,
) -> None:
    flood = [data(0.1 * n, b"x" * (ERROR_BODY_BYTES // 4 + 1)) for n in range(1, 100)]
    scene = Scene(make_pool, [head(0.05, 503), *flood])
    scene.attempt.start()
    error = await scene.fault()
    assert isinstance(error, UpstreamFault)
    assert error.upstream_status == 503
    assert scene.exchange_cancelled_at_s == pytest.approx(0.4)
    assert len(scene.attempt._error_body) == ERROR_BODY_BYTES
    assert scene.free


@pytest.mark.parametrize("is_last", [True, False])
async def test_an_engine_that_refused_and_then_fell_silent_has_still_said_why(
    make_pool: MakePool, is_last: bool
) -> None:
    body = b'{"error":{"message":"no such adapter","type":"BadRequestError"}}'
    scene = Scene(
        make_pool,
        [head(0.1, 400), data(0.1, body)],
        timeouts=Timeouts(idle_s=3.0, first_token_s=2.0),
        is_last=is_last,
    )
    scene.attempt.start()
    error = await scene.fault()
    assert (error.status, error.message) == (400, "no such adapter")
    assert scene.exchange_cancelled_at_s is not None
    assert scene.free


async def test_a_refusal_that_breaks_off_keeps_its_status(make_pool: MakePool) -> None:
    cut = broken(0.2, StreamBroken("cut", fault="stream_broken"))
    scene = Scene(make_pool, [*refusal(429, b"{")[:2], cut])
    scene.attempt.start()
    error = await scene.fault()
    assert isinstance(error, UpstreamFault)
    assert (error.status, error.where) == (429, "pool a, endpoint 1")


# -- ends that are hard to tell -------------------------------------------------------------


@pytest.mark.parametrize("ends", [True, False])
async def test_an_error_event_after_an_empty_answers_finish_is_a_fault(
    make_pool: MakePool, ends: bool
) -> None:
    """It has not been sent on, so another attempt may do better; and nobody waits for ever."""
    error = b'data: {"error":{"message":"engine died"}}\n\n'
    script = [head(0.1), data(0.1, chunk({}, finish="stop")), data(0.2, error)]
    scene = Scene(make_pool, [*script, end(0.3)] if ends else script)
    scene.attempt.start()
    assert "engine died" in (await scene.fault()).message
    assert scene.loop.time() == pytest.approx(0.2)
    assert scene.seen == []
    assert scene.free


async def test_an_empty_answer_waits_no_longer_for_its_farewell_than_another(
    make_pool: MakePool,
) -> None:
    scene = Scene(make_pool, [head(0.1), data(0.2, chunk({}, finish="stop"))])
    scene.attempt.start()
    await scene.attempt.finished
    assert scene.kinds == [Finish, UsageReport, End]
    assert scene.loop.time() == pytest.approx(0.2 + LINGER_S)
    assert scene.free


@pytest.mark.parametrize("cut", [False, True])
async def test_a_finish_that_waits_for_its_usage_is_a_finish_though_nothing_follows(
    make_pool: MakePool, cut: bool
) -> None:
    script = [head(0.1), data(0.1, chunk({"content": "Hel"})), data(0.2, chunk({}, finish="stop"))]
    if cut:
        script.append(broken(0.3, StreamBroken("cut", fault="stream_broken")))
    infer = request(max_tokens=5)
    scene = Scene(make_pool, script, infer=infer, engine="triton_openai")
    scene.attempt.start()
    await scene.attempt.finished
    assert scene.kinds == [Delta, Finish, UsageReport, End]
    assert scene.loop.time() == pytest.approx(0.3 if cut else 0.2 + LINGER_S)


@pytest.mark.parametrize("broken_usage", [True, False])
async def test_a_farewell_that_fails_takes_nothing_away_from_an_answer_that_is_there(
    make_pool: MakePool, broken_usage: bool
) -> None:
    last = b"data: {half\n\n" if broken_usage else b'data: {"error":{"message":"died"}}\n\n'
    script = [
        head(0.1),
        data(0.1, chunk({"content": "Hel"}) + chunk({}, finish="stop")),
        data(0.2, last + DONE),
        end(0.3),
    ]
    scene = Scene(make_pool, script)
    scene.attempt.start()
    await scene.attempt.finished
    assert scene.kinds == [Delta, Finish, UsageReport, End]
    assert scene.attempt.fault is None
    assert scene.loop.time() == pytest.approx(0.2)


async def test_a_fault_that_nobody_asks_for_is_no_complaint_of_the_event_loop(
    make_pool: MakePool,
) -> None:
    complaints: list[dict[str, Any]] = []
    scene = Scene(make_pool, refusal(500))
    scene.loop.set_exception_handler(lambda _, context: complaints.append(context))
    scene.attempt.start()
    await scene.attempt.finished
    del scene
    gc.collect()
    assert complaints == []


async def test_content_and_fault_that_come_together_are_both_sent_on(make_pool: MakePool) -> None:
    error = b'data: {"error":{"message":"engine died"}}\n\n'
    scene = Scene(make_pool, [head(0.1), data(0.1, chunk({"content": "Hel"}) + error)])
    scene.attempt.start()
    await scene.attempt.finished
    assert scene.kinds == [Delta, Fault]
    assert scene.attempt.fault is not None
    assert scene.exchange_cancelled_at_s == pytest.approx(0.1)
    assert scene.free


@pytest.mark.req("RUN-5")
async def test_a_connection_that_does_not_end_after_the_last_event_is_given_a_moment(
    make_pool: MakePool,
) -> None:
    said = chunk({"content": "Hi"}) + chunk({}, finish="stop") + USAGE + DONE
    scene = Scene(make_pool, [head(0.1), data(0.2, said)])
    scene.attempt.start()
    await scene.attempt.finished
    scene.attempt.let_go()
    assert scene.exchange_cancelled_at_s is None
    await asyncio.sleep(2 * LINGER_S)
    assert scene.exchange_cancelled_at_s == pytest.approx(0.2 + LINGER_S)
    assert scene.free


@pytest.mark.req("RUN-5")
async def test_an_answer_whose_connection_nobody_lets_go_is_bound_by_its_clocks_still(
    make_pool: MakePool,
) -> None:
    said = chunk({"content": "Hi"}) + chunk({}, finish="stop") + USAGE + DONE
    limits = Timeouts(idle_s=3.0)
    scene = Scene(make_pool, [head(0.1), data(0.2, said)], timeouts=limits)
    scene.attempt.start()
    await asyncio.sleep(60)
    assert scene.exchange_cancelled_at_s == pytest.approx(3.2)
    assert (scene.attempt.fault, scene.kinds[-1], scene.free) == (None, End, True)


@pytest.mark.req("RUN-5")
async def test_what_is_let_go_before_its_end_is_cancelled(make_pool: MakePool) -> None:
    scene = Scene(make_pool, answer(start_s=5.0))
    scene.attempt.start()
    await asyncio.sleep(1)
    scene.attempt.let_go()
    assert scene.exchange_cancelled_at_s == pytest.approx(1.0)
    assert scene.free


# -- any engine, any client -----------------------------------------------------------------

PIECES = st.sampled_from(
    [
        chunk({"role": "assistant", "content": None}),
        chunk({"content": "a"}),
        chunk({"content": "b"}, index=1),
        chunk({"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": "{}"}}]}),
        chunk({}, finish="stop"),
        chunk({}, finish="length", index=1),
        chunk({"content": "c"}, finish="stop"),
        chunk({}, finish="error"),
        USAGE,
        DONE,
        b": ping\n\n",
        b"data: {half\n\n",
        b"data: ",
        b'data: {"error":{"message":"died"}}\n\n',
    ]
)


@st.composite
def scripts(draw: st.DrawFn) -> Script:
    """Whatever a transport may report: its order is fixed, all else is not. Half seconds, so ties happen."""
    at_s = 0.0
    steps = []

    def later() -> float:
        nonlocal at_s
        at_s += 0.5 * draw(st.integers(0, 3))
        return at_s

    if draw(st.booleans()) or draw(st.booleans()):
        status = draw(st.sampled_from([200, 200, 200, 200, 400, 429, 503]))
        steps.append(head(later(), status))
        batches = draw(st.lists(st.lists(PIECES, min_size=1, max_size=4), max_size=6))
        steps += [data(later(), b"".join(batch)) for batch in batches]
        last = draw(st.sampled_from(["end", "broken", "silence"]))
        if last == "end":
            steps.append(end(later()))
    else:
        last = draw(st.sampled_from(["broken", "silence"]))
    if last == "broken":
        steps.append(broken(later(), StreamBroken("cut", fault="stream_broken")))
    return steps


def well_formed(events: list[Event], *, whole: bool) -> bool:
    """The grammar at the head of `contracts.events`; without `whole`, the beginning of such a stream."""
    kinds = [type(event) for event in events]
    ends = kinds[-1:] == [End] or kinds[-1:] == [Fault]
    finished = [event.choice for event in events if isinstance(event, Finish)]
    return (
        not any(kind in (End, Fault) for kind in kinds[:-1])
        and len(finished) == len(set(finished))
        and kinds.count(UsageReport) == (kinds[-1:] == [End])
        and (ends or not whole)
    )


def in_virtual_time(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    with asyncio.Runner(loop_factory=looptime.new_event_loop) as runner:
        runner.run(main())


@pytest.mark.req("RUN-3", "ADM-3")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # a factory without state
@given(
    script=scripts(),
    n=st.integers(1, 2),
    is_last=st.booleans(),
    cancel_half_s=st.none() | st.integers(0, 14),
    pauses=st.lists(st.tuples(st.integers(0, 8), st.booleans()), max_size=4),
)
def test_the_sink_sees_a_stream_or_nothing_and_the_slot_is_free_in_the_end(
    make_pool: MakePool,
    script: Script,
    n: int,
    is_last: bool,
    cancel_half_s: int | None,
    pauses: list[tuple[int, bool]],
) -> None:
    limits = Timeouts(first_token_s=2.0, idle_s=3.0, total_s=6.0)

    async def main() -> None:
        scene = Scene(make_pool, script, infer=request(n=n), timeouts=limits, is_last=is_last)
        attempt = scene.attempt
        attempt.finished.add_done_callback(lambda _: attempt.let_go())
        attempt.start()
        for half_s, resume in pauses:
            action = attempt.resume if resume else attempt.pause
            scene.loop.call_later(0.5 * half_s, action)
        if cancel_half_s is not None:
            scene.loop.call_later(0.5 * cancel_half_s, scene.cancel)
        await asyncio.sleep(limits.total_s + 2 * LINGER_S)

        assert scene.free
        assert attempt.finished.done()
        assert attempt.committed.done()
        assert attempt.ended_s is not None
        assert attempt.ended_s <= limits.total_s + LINGER_S
        assert scene.after_cancel == []
        lost = attempt.committed.cancelled() or attempt.committed.exception() is not None
        if lost:
            assert scene.seen == []
        else:
            assert well_formed(scene.seen, whole=cancel_half_s is None)
            assert scene.seen
        if attempt.fault is not None and not lost:
            assert isinstance(scene.seen[-1], Fault)

        before = list(scene.seen)
        await asyncio.sleep(1000)
        assert scene.seen == before, "no timer fires after the end"
        assert attempt._timers == []

    in_virtual_time(main)


# -- who watches ----------------------------------------------------------------------------


class Watching:
    """A watch that notes what it is told, and counts nothing itself."""

    def __init__(self) -> None:
        self.flight = Remembering().flight
        self.told: list[tuple[str, float | None, int]] = []

    def head(self, queue_s: float | None) -> None:
        self.told.append(("head", queue_s, self.flight.tokens))

    def first_token(self, at_s: float) -> None:
        self.told.append(("first token", at_s, self.flight.tokens))


def watched(make_pool: MakePool, script: Script) -> tuple[Scene, Watching]:
    scene, watch = Scene(make_pool, script), Watching()
    scene.attempt._watch = watch
    return scene, watch


@pytest.mark.req("INT-4")
async def test_a_watch_is_told_each_step_once_and_before_the_content_is_counted(
    make_pool: MakePool,
) -> None:
    scene, watch = watched(make_pool, answer(("a", "b", "c"), start_s=0.5, gap_s=0.25))
    scene.attempt.start()
    await scene.attempt.finished
    assert watch.told == [("head", None, 0), ("first token", pytest.approx(0.5), 0)]
    assert watch.flight.tokens == 3
    assert 1.0 <= watch.flight.last_s <= 1.25


async def test_each_piece_of_what_comes_as_one_is_counted(make_pool: MakePool) -> None:
    text = b"".join(chunk({"content": word}) for word in "abcd")
    script = [head(0.1), data(0.2, text), data(0.3, chunk({}, finish="stop") + DONE)]
    scene, watch = watched(make_pool, script)
    scene.attempt._context = AttemptContext(upstream_model="up", joins=True)
    scene.attempt.start()
    await scene.attempt.finished
    deltas = [event for event in scene.seen if isinstance(event, Delta)]
    assert ([event.content for event in deltas], watch.flight.tokens) == (["a", "bcd"], 4)
    assert scene.attempt.usage is not None
    assert scene.attempt.usage.completion_tokens == 4


async def test_a_refusal_is_no_head_and_nothing_is_counted(make_pool: MakePool) -> None:
    scene, watch = watched(make_pool, refusal(500))
    scene.attempt.start()
    await scene.fault()
    assert (watch.told, watch.flight.tokens, watch.flight.last_s) == ([], 0, 0.0)


async def test_a_stream_that_dies_before_content_had_a_head_and_no_first_token(
    make_pool: MakePool,
) -> None:
    scene, watch = watched(
        make_pool, [head(0.1), data(0.1, chunk({"role": "assistant"})), end(0.2)]
    )
    scene.attempt.start()
    await scene.fault()
    assert watch.told == [("head", None, 0)]
    assert watch.flight.tokens == 0


async def test_an_empty_answer_has_a_first_token_and_none_is_counted(make_pool: MakePool) -> None:
    scene, watch = watched(make_pool, [head(0.1), data(0.2, chunk({}, finish="stop") + DONE)])
    scene.attempt.start()
    await scene.attempt.finished
    assert [step for step, _, _ in watch.told] == ["head", "first token"]
    assert watch.flight.tokens == 0


async def test_what_comes_after_a_cancel_is_not_counted(make_pool: MakePool) -> None:
    scene, watch = watched(make_pool, answer(("a",) * 20))
    scene.attempt.start()
    await asyncio.sleep(0.35)
    scene.cancel()
    counted = watch.flight.tokens
    assert counted == 3
    await asyncio.sleep(10)
    assert watch.flight.tokens == counted


# -- text that goes out without events ------------------------------------------------------


class Splicing(TextSink):
    """Notes what comes as events, and what is sent on without. From the first content on, that may be."""

    def __init__(self) -> None:
        self.seen: list[Event] = []
        self.sent: list[bytes] = []

    def events(self, events: list[Event]) -> None:
        self.seen += events

    def around(self, choice: int, member: str) -> tuple[bytes, bytes] | None:
        return b"<%d %b " % (choice, member.encode()), b">"

    def send(self, frames: bytes, at_s: float) -> None:
        self.sent.append(frames)


def spliced(make_pool: MakePool, script: Script, **how: Any) -> tuple[Scene, Watching, Splicing]:
    scene, watch, sink = Scene(make_pool, script, **how), Watching(), Splicing()
    scene.attempt._watch, scene.attempt._sink = watch, sink
    return scene, watch, sink


async def test_text_that_goes_out_without_events_counts_as_any_other(make_pool: MakePool) -> None:
    script = answer("abcdefgh", start_s=1.0, gap_s=1.0)
    scene, watch, sink = spliced(make_pool, script, timeouts=Timeouts(idle_s=3.0))
    scene.attempt.start()
    await scene.attempt.finished
    assert sink.sent == [b'<0 content "%b">' % bytes([letter]) for letter in b"cdefgh"]
    assert [type(event) for event in sink.seen] == [Opened, Delta, Delta, Finish, UsageReport, End]
    assert (scene.attempt.fault, scene.attempt.finish_reasons) == (None, ["stop"])
    assert watch.flight.tokens == 8
    assert watch.flight.last_s == pytest.approx(8.0, abs=0.01)
    assert scene.attempt.usage is not None
    assert scene.attempt.usage.completion_tokens == 2, "as the engine says"


async def test_where_the_engine_counts_nothing_such_text_is_counted_here(
    make_pool: MakePool,
) -> None:
    texts = [data(0.1 * step, chunk({"content": "a"}) * step) for step in range(1, 6)]
    script = [head(0.05), *texts, data(0.8, chunk({}, finish="stop") + DONE), end(0.9)]
    scene, watch, sink = spliced(make_pool, script)
    scene.attempt.start()
    await asyncio.sleep(0.55)
    assert len(sink.sent) == 3, "and the first two taught what is repeated"
    assert scene.attempt.counted() == scene.attempt._normaliser.estimate()
    await scene.attempt.finished
    assert scene.attempt.usage is not None
    assert scene.attempt.usage.completion_tokens == watch.flight.tokens == 15


async def test_a_silence_after_such_text_is_still_a_fault(make_pool: MakePool) -> None:
    texts = [data(float(second), chunk({"content": "a"})) for second in range(1, 6)]
    scene, _, sink = spliced(
        make_pool, [head(0.5), *texts, end(99.0)], timeouts=Timeouts(idle_s=3.0)
    )
    scene.attempt.start()
    await scene.attempt.finished
    assert len(sink.sent) == 3
    assert isinstance(sink.seen[-1], Fault)
    assert scene.attempt.quiet_s == pytest.approx(3.0, abs=0.01)
    assert scene.loop.time() == pytest.approx(8.0, abs=0.01)


async def test_after_a_cancel_no_such_text_goes_out(make_pool: MakePool) -> None:
    scene, watch, sink = spliced(make_pool, answer("a" * 20))
    scene.attempt.start()
    await asyncio.sleep(0.75)
    scene.cancel()
    assert sink.sent
    so_far = (list(sink.sent), watch.flight.tokens)
    await asyncio.sleep(10)
    assert (sink.sent, watch.flight.tokens) == so_far
