"""Waiting for an answer that takes its time, while its client's sink is told that it does."""

import asyncio
import math
from collections.abc import Collection
from typing import TypeVar

from gateway.progress import Progress
from gateway.sinks import AnswerSink

T = TypeVar("T")


async def patiently(future: "asyncio.Future[T]", sink: AnswerSink, progress: Progress) -> T:
    """Await `future`, telling the sink whenever it takes another `patience_s`."""
    if sink.patience_s is None:
        return await future
    await any_of((future,), sink, progress)
    return future.result()


async def any_of(
    futures: "Collection[asyncio.Future[T]]",
    sink: AnswerSink,
    progress: Progress,
    timeout_s: float | None = None,
) -> "set[asyncio.Future[T]]":
    """Those that are done as soon as one is; none after `timeout_s`. Tells the sink meanwhile."""
    left_s = math.inf if timeout_s is None else timeout_s
    patience_s = math.inf if sink.patience_s is None else sink.patience_s
    while True:
        step_s = min(left_s, patience_s)
        done, _ = await asyncio.wait(
            futures,
            timeout=None if math.isinf(step_s) else step_s,
            return_when=asyncio.FIRST_COMPLETED,
        )
        left_s -= step_s
        if done or left_s <= 0:
            return done
        await sink.waiting(progress)
