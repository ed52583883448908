"""What is told of decisions that have been told before."""

import msgspec
import pytest

from contracts.catalog import Catalog
from contracts.decision import Decision, Rejection
from contracts.errors import NoReadyBackend
from contracts.inference import RoutingPlan, Target
from gateway.records import decided as module
from gateway.records.decided import DecidedTexts
from gateway.secrets import Redactor, SecretValue
from tests.fakes.closed import CATALOG, DECISION, resolved

REDACT = Redactor([SecretValue("hunter22")]).redact


class Planner:
    """Counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, decision: Decision, catalog: Catalog) -> RoutingPlan:
        self.asked += 1
        if not catalog.models:
            raise NoReadyBackend("none")
        target = Target(model=decision.models[0], pool="cluster", upstream="hunter22")
        return RoutingPlan(targets=(target,), constraints=decision.constraints)


@pytest.mark.req("OPS-4")
def test_what_was_decided_word_for_word_before_is_not_planned_or_searched_again() -> None:
    plan = Planner()
    searched: list[str] = []

    def redact(text: str) -> str:
        searched.append(text)
        return REDACT(text)

    texts = DecidedTexts(plan, redact)
    first = texts.told(DECISION, CATALOG)
    count = len(searched)
    again = texts.told(msgspec.structs.replace(DECISION), CATALOG)
    assert again == first
    assert (plan.asked, len(searched)) == (1, count)


@pytest.mark.req("OPS-4")
def test_the_very_same_decision_is_not_even_written_again(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[object] = []
    encode = module._encode
    monkeypatch.setattr(module, "_encode", lambda one: written.append(one) or encode(one))
    texts = DecidedTexts(resolved, REDACT)
    first = texts.told(DECISION, CATALOG)
    assert texts.told(DECISION, CATALOG) is first
    assert written == [DECISION]


@pytest.mark.req("RUN-7", "SEC-3")
def test_what_is_told_again_is_what_would_be_made_anew() -> None:
    plan = Planner()
    texts = DecidedTexts(plan, REDACT)
    shaping = msgspec.structs.replace(DECISION.shaping, reject=Rejection(message="no hunter22"))
    decisions = [
        DECISION,
        msgspec.structs.replace(DECISION, models=("other",)),
        msgspec.structs.replace(DECISION, policy_version="hunter22"),
        msgspec.structs.replace(DECISION, shaping=shaping),
        msgspec.structs.replace(DECISION, intent="\udcff"),
    ]
    for catalog in (CATALOG, Catalog(models={}), CATALOG):
        for decision in decisions * 2:
            told = texts.told(decision, catalog)
            assert told == DecidedTexts(plan, REDACT).told(decision, catalog)
            assert "hunter22" not in f"{told}"
            refused = decision.shaping.reject is not None or not catalog.models
            assert (told[1] is None) is refused


@pytest.mark.req("SEC-5")
def test_what_is_kept_of_decisions_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT", 8)
    texts = DecidedTexts(resolved, REDACT)
    for number in range(50):
        texts.told(msgspec.structs.replace(DECISION, intent=f"i{number}"), CATALOG)
        texts.told(msgspec.structs.replace(DECISION, intent="i" * 5000 + str(number)), CATALOG)
        assert len(texts._known) <= 8
        assert all(len(written) <= module.KEPT_BYTES for written in texts._known)
        assert len(texts._same) <= module.SAME_KEPT
