"""One exchange with the fake keeps a transport's promises, whatever both of its ends do."""

import asyncio
from collections.abc import Callable

import looptime
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.dialect import WireHead
from adapters.fakellmd.exchange import LocalExchange
from contracts.errors import UpstreamFault

pytestmark = [pytest.mark.looptime, pytest.mark.req("INT-9", "RUN-5")]


class Ear:
    """A sink that writes down what it hears; `then` is done at its next call."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.then: Callable[[], None] | None = None

    def _hear(self, what: str) -> None:
        self.heard.append(what)
        then, self.then = self.then, None
        if then is not None:
            then()

    def on_head(self, head: WireHead) -> None:
        self._hear(f"head {head.status}")

    def on_data(self, data: bytes) -> None:
        self._hear(data.decode())

    def on_end(self) -> None:
        self._hear("end")

    def on_error(self, error: UpstreamFault) -> None:
        self._hear("error")


class Scene:
    def __init__(self) -> None:
        self.ear = Ear()
        self.closed: list[LocalExchange] = []
        self.exchange = LocalExchange(self.ear, asyncio.get_running_loop(), self.closed.append)

    def answer(self) -> None:
        self.exchange.answer(200, {}, b"body")


async def settled() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


async def test_an_answer_arrives_in_order_and_closes_once() -> None:
    scene = Scene()
    scene.answer()
    assert scene.ear.heard == ["head 200", "body", "end"]
    assert scene.closed == [scene.exchange]
    scene.exchange.cancel()
    assert scene.closed == [scene.exchange]


async def test_while_paused_nothing_is_heard_and_nothing_is_lost() -> None:
    scene = Scene()
    scene.exchange.pause()
    scene.answer()
    assert scene.closed, "for the fake it is over"
    await settled()
    assert scene.ear.heard == []
    scene.exchange.resume()
    assert scene.ear.heard == [], "never from within resume: the sink may hold a lock of its own"
    scene.exchange.resume()
    await settled()
    assert scene.ear.heard == ["head 200", "body", "end"]


async def test_what_comes_behind_held_data_waits_behind_it() -> None:
    scene = Scene()
    scene.exchange.pause()
    scene.exchange.data(b"1")
    scene.exchange.resume()
    scene.exchange.data(b"2")
    await settled()
    scene.exchange.data(b"3")
    assert scene.ear.heard == ["1", "2", "3"]


async def test_a_sink_that_pauses_in_the_middle_gets_the_rest_later() -> None:
    scene = Scene()
    scene.exchange.pause()
    scene.answer()
    scene.ear.then = scene.exchange.pause
    scene.exchange.resume()
    await settled()
    assert scene.ear.heard == ["head 200"]
    scene.exchange.resume()
    await settled()
    assert scene.ear.heard == ["head 200", "body", "end"]


@pytest.mark.parametrize("paused", [True, False])
async def test_a_sink_that_cancels_hears_nothing_more(paused: bool) -> None:
    scene = Scene()
    scene.ear.then = scene.exchange.cancel
    if paused:
        scene.exchange.pause()
    scene.answer()
    scene.exchange.resume()
    await settled()
    assert scene.ear.heard == ["head 200"]
    assert scene.closed == [scene.exchange]


@pytest.mark.parametrize("paused", [True, False])
async def test_nothing_is_never_data(paused: bool) -> None:
    scene = Scene()
    if paused:
        scene.exchange.pause()
    scene.exchange.data(b"")
    scene.exchange.answer(204, {}, b"")
    scene.exchange.resume()
    await settled()
    assert scene.ear.heard == ["head 204", "end"]


async def test_after_its_end_an_exchange_says_nothing() -> None:
    scene = Scene()
    scene.answer()
    scene.exchange.data(b"late")
    scene.exchange.error(UpstreamFault("late"))
    scene.exchange.end()
    assert scene.ear.heard == ["head 200", "body", "end"]


ACTIONS = st.sampled_from(
    ["head", "data", "data", "end", "error", "pause", "resume", "cancel", "turn", "turn"]
)


def in_order(heard: list[str]) -> bool:
    last = [said for said in heard if said in ("end", "error")]
    return len(last) <= 1 and (not last or heard[-1] == last[0])


@given(actions=st.lists(ACTIONS, max_size=30))
def test_whatever_both_ends_do_the_sink_hears_the_answer_in_order(actions: list[str]) -> None:
    async def main() -> None:
        scene = Scene()
        exchange, heard = scene.exchange, scene.ear.heard
        said: list[str] = []
        quiet: list[str] | None = None
        paused = False
        for number, action in enumerate(actions):
            before = len(heard)
            over = exchange.over
            match action:
                case "head":
                    exchange.head(200, {})
                    said += [] if over else ["head 200"]
                case "data":
                    exchange.data(b"%d" % number)
                    said += [] if over else [str(number)]
                case "end":
                    exchange.end()
                    said += [] if over else ["end"]
                case "error":
                    exchange.error(UpstreamFault("no"))
                    said += [] if over else ["error"]
                case "pause":
                    exchange.pause()
                    paused = True
                case "resume":
                    exchange.resume()
                    paused = False
                case "cancel":
                    exchange.cancel()
                    quiet = list(heard) if quiet is None else quiet
                case "turn":
                    await settled()
            if paused:
                assert len(heard) == before
        exchange.resume()
        await settled()
        assert in_order(heard)
        assert heard == (said if quiet is None else quiet)
        assert len(scene.closed) == exchange.over

    with asyncio.Runner(loop_factory=looptime.new_event_loop) as runner:
        runner.run(main())
