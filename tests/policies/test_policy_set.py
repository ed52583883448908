"""A compiled policy: look-ups, and what an empty one promises."""

import pytest

from contracts.policy import Intent
from policies.policy_set import NO_INTENT, PolicySet


def test_an_intent_is_found_by_name() -> None:
    batch = Intent(name="batch", priority=-10)
    policy = PolicySet(intents={"batch": batch})
    assert policy.intent("batch") is batch


@pytest.mark.parametrize("name", [None, "", "nobody"])
def test_a_request_without_an_intent_was_promised_nothing(name: str | None) -> None:
    found = PolicySet(intents={"batch": Intent(name="batch")}).intent(name)
    assert found is NO_INTENT
    assert (found.name, found.priority, found.quality_floor) == ("", 0, None)
    assert (found.objectives.ttft_s, found.objectives.tpot_s, found.ladder) == (None, None, [])
