"""What is left of a run."""

import pytest

from gateway.demo.record import Record

pytestmark = pytest.mark.req("INT-10")


def test_the_clients_lag_is_told(off: Record) -> None:
    assert off.client_lag_s == pytest.approx(0.001)
    off.exchanges[7].sent_s = 9.0  # two seconds late
    assert off.client_lag_s == pytest.approx(2.0)


def test_a_run_without_requests_has_no_lag(off: Record) -> None:
    empty = Record(run="loop off", exchanges=(), sights=(), heard=(), ended_s=0.0)
    assert empty.client_lag_s == 0.0
