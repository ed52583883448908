"""What a worker told is what the hub's loop hears: the two end up alike, event by event."""

import inspect
import itertools
import re
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.catalog import Catalog
from contracts.policy import Intent
from gateway import flight_recorder
from gateway.workers.loop_events import Hearing
from gateway.workers.messages import Event
from gateway.workers.reported_loop import ReportedLoop
from policies.admission import AdmissionQueue, AdmissionSettings
from policies.flight import Flight
from policies.honour import Honour
from policies.loop import Loop
from policies.policy_set import PolicySet

pytestmark = pytest.mark.req("OPS-9")
INTENT = Intent(name="i")
POLICY = PolicySet(intents={"i": INTENT}, rules=(), version="v")


def flight(number: int) -> Flight:
    return Flight(
        number,
        intent="i",
        model="m",
        lane=("p", "m"),
        caller="web",
        priority=0,
        prompt_tokens=10,
        arrived_s=1.0,
        treated=(3,),
        e2e_objective_s=2.0,
    )


def queue() -> AdmissionQueue:
    return AdmissionQueue(AdmissionSettings(limit=9, max_waiting=9, timeout_s=9.0))


def shipped(events: list[Event]) -> list[Event]:
    """As they come out of a message."""
    return msgspec.msgpack.decode(msgspec.msgpack.encode(events), type=list[Event])


def fails(loop: Any, one: Flight, now_s: float) -> None:
    """As the flight recorder does it: what was generated is for nobody."""
    loop.attempt_failed(one, "none", now_s)
    one.tokens = one.reported_tokens = 0


def speaks(one: Flight, now_s: float) -> None:
    one.tokens += 20
    one.last_s = now_s


def changes(one: Flight, now_s: float) -> None:
    """Of two attempts the other one counts."""
    if one.dispatched_s is not None:
        one.lane, one.dispatched_s, one.output_usd = ("q", "m2"), now_s - 0.5, 0.25


STEPS: list[Callable[[Any, Flight, float], None]] = [
    lambda loop, one, s: loop.dispatched(one, ("p", "m"), 0.1, s),
    lambda loop, one, s: loop.flow_queued(one, 0.2, s),
    lambda loop, one, s: loop.first_token(one, s),
    lambda loop, one, s: fails(loop, one, s),
    lambda loop, one, s: loop.attempt_failed(one, "none", s),  # its stream is gone on with
    lambda loop, one, s: speaks(one, s),
    lambda loop, one, s: changes(one, s),
]
ENDS: list[Callable[[Any, Flight, float], None]] = [
    lambda loop, one, s: loop.ended(one, s, output_tokens=40),
    lambda loop, one, s: loop.ended(one, s, failed=True),
    lambda loop, one, s: loop.refused(one, s),
    lambda loop, one, s: loop.refused(one, s, shed=True),
    lambda loop, one, s: loop.cancelled(one, s),
]


@given(
    steps=st.lists(st.sampled_from(range(len(STEPS))), max_size=8),
    end=st.sampled_from(range(len(ENDS))),
)
def test_the_hub_counts_what_a_loop_alone_would_count(steps: list[int], end: int) -> None:
    alone, told = Loop(POLICY, Catalog(), 0.0), ReportedLoop(POLICY, Catalog(), 0.0)
    heard = Loop(POLICY, Catalog(), 0.0)
    hearing = Hearing(heard, {"p": queue()}, {}, itertools.count(7))
    for loop in (alone, told):
        one = flight(1)
        loop.offered(one)
        for at_s, step in enumerate(steps, 2):
            STEPS[step](loop, one, float(at_s))
        ENDS[end](loop, one, 20.0)
    for event in shipped(told.take(20.0)[0]):
        hearing.hear(event)
    assert hearing.under_way == 0
    for name in ("arrivals", "served", "refused", "shed", "failed", "tokens", "cost"):
        one_rate, other = (getattr(loop.signals.intent("i"), name) for loop in (alone, heard))
        assert one_rate.sum(21.0, 300) == other.sum(21.0, 300), name
    for name in ("ttft", "e2e", "queue", "tpot"):
        one_window, other = (getattr(loop.signals.intent("i"), name) for loop in (alone, heard))
        assert one_window.counts(21.0, 300) == other.counts(21.0, 300), name


def test_what_began_unheard_is_not_counted() -> None:
    heard = Loop(POLICY, Catalog(), 0.0)
    hearing = Hearing(heard, {}, {}, itertools.count())
    hearing.hear((8, 1, 5, 1.0, False, 5, "stop", 2.0))
    assert heard.signals.intent("i").served.sum(3.0, 30) == 0


def test_a_worker_that_is_gone_leaves_no_requests_behind() -> None:
    heard = Loop(POLICY, Catalog(), 0.0)
    hearing = Hearing(heard, {}, {}, itertools.count())
    told = ReportedLoop(POLICY, Catalog(), 0.0)
    told.offered(flight(1))
    for event in shipped(told.take(1.0)[0]):
        hearing.hear(event)
    assert (hearing.under_way, heard.statuses(1.0)[0].waiting) == (1, 1)
    hearing.forget(2.0)
    assert (hearing.under_way, heard.statuses(2.0)[0].waiting) == (0, 0)


def test_what_backends_say_of_intents_is_heard() -> None:
    honour = Honour()
    hearing = Hearing(Loop(POLICY, Catalog(), 0.0), {}, {"p": honour}, itertools.count())
    hearing.hear((9, "p", "o", 3, 0.5, 2.0, 1.0))
    hearing.hear((9, "elsewhere", "o", 3, 0.5, 2.0, 1.0))
    assert honour.state("o").verdict == "unconfirmed"


def test_everything_that_a_flight_begins_with_is_told() -> None:
    heard = Loop(POLICY, Catalog(), 0.0)
    told = ReportedLoop(POLICY, Catalog(), 0.0)
    fields = Flight.__struct_fields__
    names = fields[1 : fields.index("ticket")]
    texts = ("intent", "model", "caller")
    values: dict[str, Any] = {name: name if name in texts else i for i, name in enumerate(names)}
    values |= {"lane": ("p", "m"), "treated": (1, 2), "held_out": (3,), "patient": True}
    one = Flight(1, **values)
    told.offered(one)
    told.dispatched(one, one.lane, 0.0, 1.0)  # it brings the prices
    hearing = Hearing(heard, {}, {}, itertools.count(9))
    for event in shipped(told.take(1.0)[0]):
        hearing.hear(event)
    (same,) = hearing._flights.values()
    assert {name: getattr(same, name) for name in names} == values


def test_all_that_requests_tell_a_loop_is_reported() -> None:
    said = set(
        re.findall(r"self\._loop\.(\w+)\(|\bloop\.(\w+)\(", inspect.getsource(flight_recorder))
    )
    names = {name for pair in said for name in pair if name}
    assert {"offered", "ended"} <= names
    assert names <= set(vars(ReportedLoop))
