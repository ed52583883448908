"""The table of rungs: complete, and each with its words."""

import pytest

from contracts.catalog import Catalog
from contracts.policy import PLAIN_RUNGS, Rung
from policies.rungs import KINDS, label, words

pytestmark = pytest.mark.req("INT-5")

ALL = [
    *(Rung(action) for action in PLAIN_RUNGS),
    Rung.parse({"switch_model": "small"}),
    Rung.parse({"cap_tokens": 256}),
    Rung.parse({"reduce_batching": "70%"}),
]


def test_every_rung_that_a_policy_may_name_is_in_the_table() -> None:
    assert {rung.action for rung in ALL} == set(KINDS)


@pytest.mark.parametrize("rung", ALL, ids=label)
def test_a_rung_helps_something_and_is_judged_after_it_can_have_worked(rung: Rung) -> None:
    kind = KINDS[rung.action]
    assert kind.helps
    assert kind.settle_s >= 0.0
    # What is done to single requests acts on the next one; a pool is another one only when those
    # of before are out of it, but for the order in which they leave its queue.
    assert kind.per_request or kind.after_service or rung.action == "order"


@pytest.mark.parametrize("action", ["order", "hold_back", "shed", "refuse", "hedge"])
def test_who_waits_less_costs_no_less(action: str) -> None:
    assert not {"cost_per_minute", "cost_per_request"} & KINDS[action].helps


def test_no_order_makes_a_running_answer_quicker() -> None:
    assert "tpot" not in KINDS["order"].helps
    assert "ttft" not in KINDS["reduce_batching"].helps


@pytest.mark.parametrize(
    ("rung", "shown"),
    [
        (Rung("shed"), "shed"),
        (Rung("cap_tokens", 256), "cap_tokens 256"),
        (Rung("reduce_batching", 0.7), "reduce_batching 0.7"),
        (Rung("switch_model", "small", True), "switch_model small"),
    ],
)
def test_a_label_is_what_the_operator_wrote(rung: Rung, shown: str) -> None:
    assert label(rung) == shown


@pytest.mark.req("INT-7")
@pytest.mark.parametrize(
    ("rung", "said"),
    [
        ("order", "ordered callers of interactive by deadline where their shares allow it"),
        ("hold_back", "held back classes below interactive"),
        ({"switch_model": "small"}, "switched model big -> small for interactive"),
        ({"cap_tokens": 256}, "capped tokens at 256 for interactive"),
        ({"reduce_batching": "70%"}, "reduced batching to 70% for interactive"),
        ("hedge", "hedged slow first tokens of interactive"),
        ("reroute", "rerouted interactive to near"),
        ("shed", "shed sheddable traffic for interactive"),
        ("refuse", "refused all below interactive"),
    ],
)
def test_each_rung_is_said_as_a_person_says_it(rung: object, said: str) -> None:
    catalog = Catalog(routes={"big": ("big", "near", "far")})
    assert words(Rung.parse(rung), "interactive", "big", catalog) == said


def test_words_do_without_what_nobody_knows() -> None:
    assert words(Rung("switch_model", "small"), "i", "", Catalog()).startswith("switched model any")
    assert words(Rung("reroute"), "i", "big", Catalog()) == "rerouted i to the next target"
