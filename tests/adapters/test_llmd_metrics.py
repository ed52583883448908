"""Counters by priority, out of whatever a metrics address answers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, generate_latest

from adapters.llmd_metrics import PRIORITIES_MAX, priorities_counted

pytestmark = pytest.mark.req("INT-8")


def test_requests_are_summed_by_priority_over_outcomes_and_pools() -> None:
    text = b"""\
# HELP llm_d_epp_flow_control_requests_total Requests.
# TYPE llm_d_epp_flow_control_requests_total counter
llm_d_epp_flow_control_requests_total{inference_pool="a",outcome="Dispatched",priority="10"} 8
llm_d_epp_flow_control_requests_total{inference_pool="a",outcome="EvictedTTL",priority="10"} 1
llm_d_epp_flow_control_requests_total{inference_pool="b",outcome="Dispatched",priority="10"} 1e+01
llm_d_epp_flow_control_requests_total{inference_pool="a",outcome="Dispatched",priority="-10"} 3 1700000000
llm_d_epp_flow_control_requests_total{inference_pool="a",outcome="Dispatched",priority="0"} 0
llm_d_epp_flow_control_queue_size{priority="5"} 7
"""
    assert priorities_counted(text) == {10: 19.0, -10: 3.0, 0: 0.0}


def test_a_counter_under_both_its_names_counts_once() -> None:
    old = b'inference_extension_flow_control_requests_total{priority="1"} 4\n'
    new = b'llm_d_epp_flow_control_requests_total{priority="1"} 4\n'
    assert priorities_counted(old) == priorities_counted(old + new) == {1: 4.0}


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"<html>not here</html>",
        b"llm_d_epp_flow_control_requests_total 5\n",
        b'llm_d_epp_flow_control_requests_total{outcome="x"} 5\n',
        b'llm_d_epp_flow_control_requests_total{priority="high"} 5\n',
        b'llm_d_epp_flow_control_requests_total{my_priority="1"} 5\n',
        b'llm_d_epp_flow_control_requests_total{priority="1"} NaN\n',
        b'llm_d_epp_flow_control_requests_total{priority="1"} -1\n',
        b'llm_d_epp_flow_control_requests_total{priority="1"} +Inf\n',
        b'llm_d_epp_flow_control_requests_total{priority="1"}\n5\n',
        b'x_llm_d_epp_flow_control_requests_total{priority="1"} 5\n',
        b'# llm_d_epp_flow_control_requests_total{priority="1"} 5\n',
    ],
)
def test_what_counts_nothing_by_priority_is_none(text: bytes) -> None:
    assert priorities_counted(text) is None


def test_the_number_of_priorities_is_bounded() -> None:
    line = 'llm_d_epp_flow_control_requests_total{{priority="{}"}} 1\n'
    found = priorities_counted("".join(line.format(n) for n in range(1000)).encode())
    assert found is not None
    assert len(found) == PRIORITIES_MAX


@given(
    pool=st.text(),
    counts=st.dictionaries(st.integers(-1000, 1000), st.integers(0, 10**6), min_size=1),
)
def test_what_a_metrics_library_writes_is_read(pool: str, counts: dict[int, int]) -> None:
    """Whatever stands in the labels beside the priority."""
    registry = CollectorRegistry()
    counter = Counter(
        "llm_d_epp_flow_control_requests",
        "Requests.",
        ["inference_pool", "outcome", "priority"],
        registry=registry,
    )
    for priority, count in counts.items():
        counter.labels(pool, f',priority="{priority + 1}"', str(priority)).inc(count)
    assert priorities_counted(generate_latest(registry)) == counts


@given(data=st.binary() | st.text().map(str.encode))
def test_any_bytes_are_read_or_passed_over(data: bytes) -> None:
    name = b"llm_d_epp_flow_control_requests_total"
    for text in (data, name + data, name + b'{priority="1"' + data):
        found = priorities_counted(text)
        assert found is None or all(count >= 0 for count in found.values())
