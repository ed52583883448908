"""W3C Trace Context: what is gone on with, what is begun anew, and what travels on."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.trace_context import STATE_CHARS, TraceContext, begin

pytestmark = pytest.mark.req("RUN-10")
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
IDS = st.integers(1, 2**64 - 1)


def drawn(*numbers: int) -> Callable[[int], int]:
    """Draws these, one after the other."""
    left = iter(numbers)
    return lambda bits: next(left)


def begun(traceparent: str, state: str = "", share: float = 1.0) -> TraceContext:
    return begin({"traceparent": traceparent, "tracestate": state}, share, drawn(5, 6, 7, 8))


def test_a_clients_trace_is_gone_on_with() -> None:
    own = begun(f"00-{TRACE}-{PARENT}-01", "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE", share=0.0)
    assert (f"{own.trace_id:032x}", f"{own.parent_id:016x}") == (TRACE, PARENT)
    assert (own.span_id, own.sampled) == (5, True)
    assert own.headers() == (
        ("traceparent", f"00-{TRACE}-0000000000000005-01"),
        ("tracestate", "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"),
    )
    below = own.child(drawn(9))
    assert (below.trace_id, below.span_id, below.parent_id) == (own.trace_id, 9, 5)
    assert below.state == own.state


def test_a_client_that_keeps_no_trace_is_taken_at_its_word() -> None:
    own = begun(f"00-{TRACE}-{PARENT}-00")
    assert not own.sampled
    assert own.headers() == (("traceparent", f"00-{TRACE}-0000000000000005-00"),)


@pytest.mark.parametrize(
    "traceparent",
    [
        "",
        "x",
        f"00-{TRACE}-{PARENT}",
        f"00-{TRACE}-{PARENT}-01-more",
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-01, 00-{TRACE}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-01\n",
    ],
)
def test_what_is_no_trace_context_begins_a_trace(traceparent: str) -> None:
    own = begun(traceparent, "a=b")
    assert own == TraceContext(trace_id=6, span_id=5)


def test_of_a_later_version_the_parts_that_it_shares_are_read() -> None:
    assert begun(f"cc-{TRACE}-{PARENT}-09-what-will-be").sampled


@pytest.mark.parametrize(
    "state", ["a", "a=b\r\nx: y", "a=b,\x00", "é=1", f"a={'b' * STATE_CHARS}", "=b"]
)
def test_a_state_that_is_none_does_not_travel_on(state: str) -> None:
    assert begun(f"00-{TRACE}-{PARENT}-01", state).state == ""


def test_ids_are_never_zero() -> None:
    own = begin({}, 1.0, drawn(0, 1, 0, 2))
    assert (own.span_id, own.trace_id) == (1, 2)
    assert own.child(drawn(0, 0, 3)).span_id == 3


@given(trace_id=st.integers(1, 2**128 - 1), share=st.floats(0, 1))
def test_a_share_is_kept_and_the_same_one_by_everybody(trace_id: int, share: float) -> None:
    own = begin({}, share, drawn(1, trace_id))
    assert own.sampled == (trace_id % 2**64 < round(share * 2**64))
    assert begin({}, 1.0, drawn(1, trace_id)).sampled
    assert not begin({}, 0.0, drawn(1, trace_id)).sampled


@given(trace_id=st.integers(1, 2**128 - 1), span_id=IDS, parent_id=IDS, sampled=st.booleans())
def test_what_is_written_is_read(
    trace_id: int, span_id: int, parent_id: int, sampled: bool
) -> None:
    sender = TraceContext(trace_id=trace_id, span_id=parent_id, sampled=sampled)
    own = begin(dict(sender.headers()), 0.5, drawn(span_id))
    assert own == TraceContext(
        trace_id=trace_id, span_id=span_id, parent_id=parent_id, sampled=sampled
    )


@given(st.text(max_size=80), st.text(max_size=80))
def test_anything_at_all_is_read_without_a_fault(parent: str, state: str) -> None:
    headers = begin({"traceparent": parent, "tracestate": state}, 0.5).headers()
    assert all(value.isascii() and value.isprintable() for _, value in headers)
