"""One attempt in virtual time: what reaches the sink, when it is over, and that it lets go of its slot."""

import asyncio

import pytest

from adapters.dialect import AttemptContext
from contracts.errors import InvalidField
from contracts.events import Delta, End, Fault
from contracts.inference import InferRequest, Timeouts
from gateway.attempt import Attempt, expected_choices
from gateway.receiving import LINGER_S
from tests.fakes.scripted import answer, chunk, data, head
from tests.gateway.attempt_scene import MakePool, Scene, request

pytestmark = [pytest.mark.looptime, pytest.mark.req("RUN-1", "RUN-5", "RUN-6")]
STATES = {
    "created": 0.0,
    "dispatched": 0.02,
    "answering": 0.07,
    "streaming": 0.15,
    "over": 0.5,
    "long over": 5.0,
}
"""Seconds after the start of `answer()`; at 0 it has not been started yet."""


# -- how many answers a request asks for ----------------------------------------------------


@pytest.mark.parametrize(
    ("prompt", "choices"),
    [
        ("text", 1),
        (["one"], 1),
        (["one", "two"], 2),
        ([11, 12, 13], 1),  # one prompt, in tokens
        ([[11], [12, 13]], 2),
        ([], 1),
        ("", 1),
    ],
)
def test_each_prompt_of_a_text_completion_is_answered_n_times(prompt: object, choices: int) -> None:
    assert expected_choices(request("completion", prompt=prompt)) == choices
    assert expected_choices(request("completion", prompt=prompt, n=3)) == 3 * choices


def test_a_chat_and_an_embedding_have_one_prompt() -> None:
    assert expected_choices(request("chat", n=4)) == 4
    assert expected_choices(request("chat", prompt=["not", "looked", "at"])) == 1
    assert expected_choices(request("embedding", input=["one", "two"])) == 1


@pytest.mark.req("OPS-4")
async def test_it_has_no_dictionary(make_pool: MakePool) -> None:
    """It has more members than Python keeps cheaply in one, and there is one a request."""
    attempt = Scene(make_pool, answer()).attempt
    assert not hasattr(attempt, "__dict__")
    names = {name for kind in type(attempt).__mro__ for name in getattr(kind, "__slots__", ())}
    assert all(hasattr(attempt, name) for name in names), "each is filled"


# -- cancel ---------------------------------------------------------------------------------


@pytest.mark.parametrize("at_s", STATES.values(), ids=STATES)
async def test_cancelling_twice_is_cancelling_once_in_every_state(
    make_pool: MakePool, at_s: float
) -> None:
    scene = Scene(make_pool, answer())
    if at_s:
        scene.attempt.start()
        await asyncio.sleep(at_s)
    already_free = scene.free
    scene.cancel()
    cancelled_at_s = scene.loop.time()
    assert scene.free
    # Whoever takes the place next is not thrown out by a second release.
    next_one = await scene.pool.enter(0).slot
    scene.attempt.cancel()
    scene.attempt.pause()
    scene.attempt.resume()
    await asyncio.sleep(100)
    assert scene.pool.signals().inflight == 1
    next_one.release()
    assert scene.attempt.finished.done()
    assert scene.attempt.committed.done()
    assert scene.after_cancel == []
    if at_s and not already_free:
        assert scene.exchange_cancelled_at_s == cancelled_at_s


async def test_an_attempt_cancelled_before_its_start_never_reaches_the_engine(
    make_pool: MakePool,
) -> None:
    scene = Scene(make_pool, answer())
    scene.cancel()
    scene.attempt.start()
    await asyncio.sleep(10)
    assert scene.transport.requests == []
    assert scene.after_cancel == []
    assert scene.free


@pytest.mark.parametrize("piece", [0, 1, 2])
async def test_a_sink_that_cancels_from_within_hears_nothing_more(
    make_pool: MakePool, piece: int
) -> None:
    calls = 0

    def cancel(attempt: Attempt) -> None:
        nonlocal calls
        calls += 1
        if calls == piece + 1:
            attempt.cancel()

    last = data(0.3, chunk({"content": "c"}) + chunk({}, finish="stop"))
    script = [head(0.1), data(0.1, chunk({"content": "a"})), data(0.2, chunk({"content": "b"}))]
    scene = Scene(make_pool, [*script, last], on_events=cancel)
    scene.attempt.start()
    await scene.attempt.finished
    await asyncio.sleep(10 * LINGER_S)
    assert calls == piece + 1
    assert scene.free


async def test_a_request_that_the_dialect_cannot_say_frees_its_slot(make_pool: MakePool) -> None:
    scene = Scene(make_pool, answer())

    class Mute:
        def request(self, infer: InferRequest, attempt: AttemptContext) -> None:
            raise InvalidField("no such thing here", param="audio")

    scene.attempt._dialect = Mute()  # type: ignore[assignment]  # all of a dialect that is asked
    with pytest.raises(InvalidField):
        scene.attempt.start()
    assert scene.free
    assert scene.transport.requests == []


# -- pause ----------------------------------------------------------------------------------


async def test_pausing_and_resuming_twice_reach_the_engine_once(make_pool: MakePool) -> None:
    scene = Scene(make_pool, answer(("a", "b", "c")))
    scene.attempt.start()
    await asyncio.sleep(0.15)
    scene.attempt.resume()
    for _ in range(2):
        scene.attempt.pause()
    exchange = scene.transport.exchanges[0]
    assert (exchange.paused, exchange.pauses) == (True, 1)
    await asyncio.sleep(200)  # longer than the engine may be silent
    assert scene.kinds.count(Delta) == 1
    for _ in range(2):
        scene.attempt.resume()
    await scene.attempt.finished
    assert scene.kinds[-1] is End


async def test_a_pause_before_the_start_holds_the_engine_back_from_the_start(
    make_pool: MakePool,
) -> None:
    scene = Scene(make_pool, answer())
    scene.attempt.pause()
    scene.attempt.start()
    await asyncio.sleep(5)
    assert not scene.attempt.committed.done()
    scene.attempt.resume()
    await scene.attempt.finished
    assert scene.kinds[-1] is End


async def test_a_pause_does_not_outlast_the_total(make_pool: MakePool) -> None:
    scene = Scene(make_pool, answer(), timeouts=Timeouts(idle_s=2.0, total_s=7.0))
    scene.attempt.start()
    await asyncio.sleep(0.15)
    scene.attempt.pause()
    await scene.attempt.finished
    assert scene.loop.time() == pytest.approx(7.0)
    assert scene.kinds[-1] is Fault
    assert scene.free
