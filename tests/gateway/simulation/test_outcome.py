"""A request's fate, before and after it is known."""

import pytest

from gateway.simulation.outcome import FATES, Outcome

pytestmark = pytest.mark.req("INT-12")


def test_a_request_whose_fate_is_not_known_is_still_under_way() -> None:
    outcome = Outcome(1.5, "web", 10)
    assert (outcome.arrival_s, outcome.tenant, outcome.input_tokens) == (1.5, "web", 10)
    assert outcome.fate == "cancelled"
    times = (outcome.queued_s, outcome.ttft_s, outcome.tpot_s, outcome.e2e_s, outcome.cost_usd)
    assert times == (None,) * 5


def test_there_are_six_fates() -> None:
    assert FATES == ("served", "refused", "dropped", "shed", "failed", "cancelled")


def test_an_outcome_takes_no_other_member() -> None:
    with pytest.raises(AttributeError):
        Outcome(0.0, "", 1).latency_s = 1.0
