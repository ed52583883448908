"""Who reads one task now: how many may, and how they hear that there is something new.

A reader that comes or goes does not touch the task.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from contracts.errors import TooManyReaders


class Readers:
    """One task's. A reader waits for the event it was given, and clears it before it looks."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._news: set[asyncio.Event] = set()

    def __len__(self) -> int:
        return len(self._news)

    @contextmanager
    def join(self) -> Iterator[asyncio.Event]:
        """Raises TooManyReaders."""
        if len(self._news) >= self._limit:
            message = f"{self._limit} streams of this task are read at once already"
            raise TooManyReaders(message, retry_after_s=5.0)
        news = asyncio.Event()
        self._news.add(news)
        try:
            yield news
        finally:
            self._news.discard(news)

    def wake(self) -> None:
        for news in self._news:
            news.set()
