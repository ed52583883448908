"""Waiting long, and saying so. Virtual time."""

import asyncio

import pytest

from gateway.patience import any_of, patiently
from gateway.progress import Progress
from tests.gateway.test_executor import Listening

pytestmark = [pytest.mark.looptime, pytest.mark.req("RUN-3")]


def later(delay_s: float) -> "asyncio.Future[str]":
    loop = asyncio.get_running_loop()
    future: asyncio.Future[str] = loop.create_future()
    loop.call_later(delay_s, future.set_result, "done")
    return future


@pytest.mark.parametrize(("patience_s", "waits"), [(None, 0), (1.0, 2), (9.0, 0)])
async def test_the_sink_is_told_whenever_its_patience_is_over(
    patience_s: float | None, waits: int
) -> None:
    sink = Listening(patience_s)
    assert await patiently(later(2.5), sink, Progress(accepted_s=0.0)) == "done"
    assert sink.waits == waits


async def test_what_is_there_already_is_not_waited_for() -> None:
    """Not even for one round of the event loop."""
    sink, ready = Listening(1.0), asyncio.get_running_loop().create_future()
    ready.set_result("done")
    coming = patiently(ready, sink, Progress(accepted_s=0.0)).__await__()
    with pytest.raises(StopIteration) as told:
        next(coming)
    assert told.value.value == "done"


async def test_who_stops_waiting_leaves_what_it_waited_for_as_it_was() -> None:
    future = later(5.0)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(2.5):
            await patiently(future, Listening(1.0), Progress(accepted_s=0.0))
    assert await future == "done"


async def test_who_is_done_first_is_told_at_once_and_nobody_after_the_time() -> None:
    sink, progress = Listening(1.0), Progress(accepted_s=0.0)
    first, second = later(3.0), later(1.5)
    assert await any_of((first, second), sink, progress, 1.2) == set()
    assert sink.waits == 1
    assert await any_of((first, second), sink, progress) == {second}
    assert asyncio.get_running_loop().time() == pytest.approx(1.5)
