"""How often a thread comes back to the event loop: each time is a turn of the loop."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch


@contextmanager
def counting_visits() -> Iterator[Callable[[], int]]:
    """Gives how many there were so far."""
    loop = asyncio.get_running_loop()
    back = loop.call_soon_threadsafe
    visits = 0

    def counted(callback: Callable[..., object], *args: Any, **more: Any) -> asyncio.Handle:
        nonlocal visits
        visits += 1
        return back(callback, *args, **more)

    with patch.object(loop, "call_soon_threadsafe", counted):
        yield lambda: visits
