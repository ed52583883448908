"""A worker's loop: all that happens is noted in order, and what the hub says holds for as long as a lease."""

import msgspec
import pytest

from contracts.catalog import Catalog
from gateway.workers import reported_loop as module
from gateway.workers.loop_events import ENDED, FIRST_TOKEN, HONOUR, OFFERED, TOKENS
from gateway.workers.messages import View
from gateway.workers.reported_loop import ReportedHonour, ReportedLoop
from policies.admission import AdmissionQueue, AdmissionSettings
from policies.flight import Flight
from policies.held import CALM, Holding
from policies.ladder import LEASE_S
from policies.lines import Ticket
from policies.policy_set import PolicySet
from policies.steering import PoolBounds

pytestmark = pytest.mark.req("OPS-9")


def loop() -> ReportedLoop:
    return ReportedLoop(PolicySet(intents={}, rules=(), version="v"), Catalog(), 0.0)


def flight(number: int = 1) -> Flight:
    return Flight(
        number,
        intent="i",
        model="m",
        lane=("p", "m"),
        caller="web",
        priority=0,
        prompt_tokens=10,
        arrived_s=0.0,
    )


def test_what_the_hub_holds_lapses_with_its_lease() -> None:
    made, held = loop(), Holding(until_s=9.0)
    made.hold(held, 100.0)
    assert made.held_now(100.0 + LEASE_S - 1) is held
    assert made.held_now(100.0 + LEASE_S) is CALM


def test_nothing_held_is_known_as_that_when_it_came_over_the_wire() -> None:
    """Else no decision of a worker is a usual one."""
    made = loop()
    view = msgspec.msgpack.decode(msgspec.msgpack.encode(View(pools={}, holding=CALM)), type=View)
    made.hold(view.holding, 100.0)
    assert made.held_now(100.0) is CALM


def test_a_stream_is_told_of_while_it_lives() -> None:
    made, one = loop(), flight()
    made.offered(one)
    made.dispatched(one, ("p", "m"), 0.0, 0.1)
    made.first_token(one, 0.2)
    events, lost = made.take(0.3)
    assert [event[0] for event in events][::2] == [OFFERED, FIRST_TOKEN]
    assert not lost
    one.tokens, one.last_s = 30, 1.0
    assert made.take(0.5)[0] == []
    assert made.take(1.0)[0] == [(TOKENS, 1, 30, 1.0)]
    assert made.take(1.1)[0] == []
    made.ended(one, 1.2, output_tokens=31)
    assert made.take(1.3)[0] == [(ENDED, 1, 30, 1.0, False, 31, "", 1.2)]
    assert not made.live


def test_what_is_generated_is_charged_to_its_caller_here() -> None:
    made, one = loop(), flight()
    queue = AdmissionQueue(AdmissionSettings(limit=9, max_waiting=9, timeout_s=9.0))
    made.adopt("p", queue, PoolBounds(endpoints=1, ceiling=9.0))
    queue.offer(Ticket(request=1, lane="m", caller="web", prompt_tokens=10), 0.0)
    before = queue.counters(0).of("web")
    one.ticket = 1
    made.offered(one)
    made.dispatched(one, ("p", "m"), 0.0, 0.1)
    made.first_token(one, 0.2)
    assert queue.lane("m").prefill.samples == 1
    made.ended(one, 1.0, output_tokens=50)
    assert queue.counters(0).of("web") - before == pytest.approx(100.0)


def test_an_engine_that_claims_absurd_numbers_stops_no_report() -> None:
    made, one = loop(), flight()
    made.offered(one)
    made.ended(one, 1.0, output_tokens=10**400)
    assert msgspec.msgpack.encode(made.take(1.0)[0])


def test_too_much_is_dropped_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "EVENTS", 3)
    made, flights = loop(), [flight(number) for number in range(5)]
    for one in flights:
        made.offered(one)
    made.refused(flights[0], 1.0)  # its beginning was dropped
    made.cancelled(flights[4], 1.0)
    events, lost = made.take(1.0)
    assert lost
    assert [event[1] for event in events] == [3, 4, 4]
    assert not made.take(2.0)[1]


def test_another_hub_is_told_nothing_of_what_began_before_it() -> None:
    made, one = loop(), flight()
    made.offered(one)
    made.drop()
    made.ended(one, 1.0)
    assert made.take(2.0) == ([], False)


def test_what_backends_say_of_intents_is_passed_on() -> None:
    made = loop()
    honour = ReportedHonour(made, "p")
    honour.answered("o", 3, 0.5, 2.0, sent_s=1.0)
    assert made.take(2.0)[0] == [(HONOUR, "p", "o", 3, 0.5, 2.0, 1.0)]
