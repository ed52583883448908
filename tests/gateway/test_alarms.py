"""Alarms: each rings once, when it is due, unless it was unset; and the event loop has one timer for all. Virtual time."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.alarms import EARLY_S, Alarms
from tests.gateway.test_receiving import in_virtual_time

pytestmark = pytest.mark.req("OPS-4")


class Sleeper:
    def __init__(self) -> None:
        self.rang_s: list[float] = []

    def ring(self) -> None:
        self.rang_s.append(asyncio.get_running_loop().time())


class Broken(Sleeper):
    def ring(self) -> None:
        super().ring()
        raise RuntimeError("cannot get up")


@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["set", "unset", "wait"]), st.integers(0, 5)), max_size=30
    )
)
def test_each_rings_once_when_it_is_due_unless_it_was_unset(steps: list[tuple[str, int]]) -> None:
    async def main() -> None:
        loop, lines = asyncio.get_running_loop(), Alarms()
        due_s: dict[Sleeper, float] = {}
        all_of_them: list[tuple[Sleeper, float | None]] = []
        for what, number in steps:
            now_s = loop.time()
            match what:
                case "set":
                    sleeper, length_s = Sleeper(), 2.0 + number % 2
                    lines.line(length_s).set(sleeper)
                    due_s[sleeper] = now_s + length_s
                case "unset" if due_s:
                    sleeper = list(due_s)[number % len(due_s)]
                    if due_s[sleeper] > now_s:
                        del due_s[sleeper]
                        all_of_them.append((sleeper, None))
                    for length_s in (2.0, 3.0):  # where it was never set, too
                        lines.line(length_s).unset(sleeper)
                case _:
                    await asyncio.sleep(number * 0.7)
        await asyncio.sleep(10.0)
        all_of_them += due_s.items()
        for sleeper, at_s in all_of_them:
            assert sleeper.rang_s == ([] if at_s is None else [pytest.approx(at_s, abs=EARLY_S)])
        assert len(lines.line(2.0)) == len(lines.line(3.0)) == 0

    in_virtual_time(main)


@pytest.mark.looptime
async def test_one_timer_is_enough_for_all_of_one_length(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, line = asyncio.get_running_loop(), Alarms().line(60.0)
    made: list[float] = []
    call_at = loop.call_at

    def counting(when: float, *args: object) -> asyncio.TimerHandle:
        made.append(when)
        return call_at(when, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(loop, "call_at", counting)
    for _ in range(1000):
        sleeper = Sleeper()
        line.set(sleeper)
        line.unset(sleeper)
    assert len(made) == 1


@pytest.mark.looptime
async def test_one_that_fails_keeps_none_of_the_others_asleep() -> None:
    line, failures = Alarms().line(1.0), []
    asyncio.get_running_loop().set_exception_handler(lambda _, what: failures.append(what))
    first, second, third = Broken(), Sleeper(), Sleeper()
    line.set(first)
    line.set(second)
    await asyncio.sleep(0.5)
    line.set(third)
    await asyncio.sleep(2.0)
    assert second.rang_s == [pytest.approx(1.0)]
    assert third.rang_s == [pytest.approx(1.5)]
    assert len(failures) == 1
