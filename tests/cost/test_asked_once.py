"""What every request would ask of the event loop or of the system, and does not: it was asked once, or is
asked for many together."""

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.cost.in_memory import Client, MemoryLoop, counting, gateway, request, whole_answer

pytestmark = pytest.mark.req("OPS-4")
REQUESTS = 20


@contextmanager
def silent() -> Iterator[None]:
    logging.disable()
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


@pytest.fixture(scope="module")
def calls() -> Counter[str]:
    """Of some requests that are not streamed, one after the other."""

    async def scene() -> Counter[str]:
        async with gateway() as loop:
            loop.on_request = lambda backend: loop.call_soon(backend.receive, whole_answer(16))
            client = Client(loop)
            seen: Counter[str] = Counter()
            for turn in range(REQUESTS + 5):
                asked = request(stream=False)
                with counting() as counted:
                    client.send(asked)
                    answer = await client.answer()
                assert answer.startswith(b"HTTP/1.1 200 OK")
                loop.backends[-1].written.clear()
                if turn >= 5:  # the first ones make what all others find
                    seen.update(counted)
            return seen

    loop = MemoryLoop()
    with silent():
        try:
            return loop.run_until_complete(scene())
        finally:
            loop.close()


def test_which_event_loop_runs(calls: Counter[str]) -> None:
    """A system call, up to Python 3.11. Once: it is how to ask which task runs."""
    assert calls["C:get_running_loop"] <= REQUESTS


def test_timers_of_its_own(calls: Counter[str]) -> None:
    """Not one a request: what comes now and then, as the loop's tick, may make a few."""
    made = sum(n for name, n in calls.items() if name.endswith(":TimerHandle.__init__"))
    assert made < REQUESTS / 2


def test_whether_an_idle_connection_is_quiet_is_asked_each_time(calls: Counter[str]) -> None:
    """An answer that nobody asked for must not meet a request: only the kernel knows that none has come."""
    looks = sum(n for name, n in calls.items() if name.endswith(":Connection.is_quiet"))
    assert looks == REQUESTS
