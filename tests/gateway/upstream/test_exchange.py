"""One ending a request, and silence after a cancel, in whatever order things happen."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import UpstreamFault
from gateway.upstream.exchange import HttpExchange

FAULT = UpstreamFault("pool local, endpoint 1 went away")


class Wire:
    """The two neighbours of an exchange: the sink it tells, and the connection it is on."""

    def __init__(self):
        self.log = []

    def abort(self):
        self.log.append("abort")

    def pause_reading(self):
        self.log.append("pause")

    def resume_reading(self):
        self.log.append("resume")

    def on_head(self, head):
        raise AssertionError("the reader tells heads")

    def on_data(self, data):
        raise AssertionError("the reader tells data")

    def on_end(self):
        self.log.append("end")

    def on_error(self, error):
        self.log.append(error)


@pytest.fixture
def wire():
    return Wire()


@pytest.fixture
def exchange(wire):
    return carried(wire)


def carried(wire):
    begun = HttpExchange(wire, b"POST / HTTP/1.1\r\n\r\n")
    begun.carrier = wire
    return begun


@pytest.mark.req("RUN-5")
def test_a_cancel_aborts_the_connection_and_says_nothing(exchange, wire):
    exchange.cancel()
    exchange.cancel()
    exchange.end()
    exchange.fail(FAULT)
    assert wire.log == ["abort"]


def test_a_cancel_before_there_is_a_connection_is_enough(wire):
    waiting = HttpExchange(wire, b"")
    waiting.cancel()
    waiting.fail(FAULT)
    assert wire.log == []


def test_an_end_frees_the_connection_from_a_late_cancel(exchange, wire):
    exchange.end()
    exchange.cancel()
    exchange.pause()
    exchange.resume()
    assert wire.log == ["end"]


def test_a_pause_before_the_connection_is_remembered_for_it(wire):
    waiting = HttpExchange(wire, b"")
    waiting.pause()
    assert waiting.paused
    assert wire.log == []


def test_pausing_twice_is_pausing_once(exchange, wire):
    exchange.pause()
    exchange.pause()
    exchange.resume()
    exchange.resume()
    assert wire.log == ["pause", "resume"]


@pytest.mark.req("RUN-5")
def test_a_sink_may_cancel_from_within_its_ending(wire):
    class Cancelling(Wire):
        def on_error(self, error):
            super().on_error(error)
            exchange.cancel()

    sink = Cancelling()
    exchange = HttpExchange(sink, b"")
    exchange.carrier = wire
    exchange.fail(FAULT)
    assert (sink.log, wire.log) == ([FAULT], [])


@pytest.mark.req("RUN-5", "RUN-6")
@given(calls=st.lists(st.sampled_from(["cancel", "pause", "resume", "end", "fail"]), max_size=8))
def test_whatever_happens_there_is_one_ending_and_nothing_after_it(calls):
    wire = Wire()
    exchange = carried(wire)
    for call in calls:
        getattr(exchange, call)(*([FAULT] if call == "fail" else []))
    over = [call for call in calls if call in ("cancel", "end", "fail")]
    endings = [told for told in wire.log if told not in ("pause", "resume")]
    first = {"cancel": "abort", "end": "end", "fail": FAULT}
    assert endings == [first[call] for call in over[:1]]
    if over:
        assert wire.log[-1] == endings[0]
        assert (exchange.sink, exchange.carrier, exchange.wire) == (None, None, b"")
    steps = [told for told in wire.log if told in ("pause", "resume")]
    assert steps == ["pause", "resume"] * (len(steps) // 2) + ["pause"] * (len(steps) % 2)
