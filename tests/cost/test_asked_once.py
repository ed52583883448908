"""What every request would ask of the event loop or of the system, and does not: it was asked once, or is
asked for many together."""

from collections import Counter

import pytest

from tests.cost.in_memory import MemoryLoop, calls_of_requests, run

pytestmark = pytest.mark.req("OPS-4")
REQUESTS = 20


@pytest.fixture(scope="module")
def calls() -> Counter[str]:
    """Of some requests that are not streamed, one after the other."""

    async def scene(loop: MemoryLoop) -> Counter[str]:
        seen: Counter[str] = Counter()
        for counted in await calls_of_requests(loop, times=REQUESTS):
            seen.update(counted)
        return seen

    return run(scene)


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
