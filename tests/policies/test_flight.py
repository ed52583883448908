"""A request under way: what it begins with, and that it is as light as it says."""

import pytest

from policies.flight import Flight

pytestmark = pytest.mark.req("INT-4")


def flight(**more: object) -> Flight:
    told: dict[str, object] = {
        "intent": "interactive",
        "model": "big",
        "lane": ("cluster", "Big-70B"),
        "caller": "web",
        "priority": 10,
        "prompt_tokens": 500,
        "arrived_s": 3.0,
    }
    return Flight(7, **{**told, **more})  # type: ignore[arg-type]  # the tests name fields


def test_it_begins_undispatched_with_nothing_generated_charged_or_judged() -> None:
    new = flight()
    assert (new.dispatched_s, new.first_token_s) == (None, None)
    assert (new.tokens, new.mark_tokens, new.reported_tokens, new.cost_usd) == (0, 0, 0, 0.0)
    assert (new.ttft_judged, new.e2e_judged) == (False, False)
    assert new.judged_tpot_s < new.arrived_s, "its pace has never been judged"


def test_without_a_word_it_was_promised_nothing_weighs_one_and_is_free() -> None:
    new = flight()
    assert new.ttft_objective_s is new.tpot_objective_s is new.e2e_objective_s is None
    assert (new.weight, new.max_tokens, new.input_usd, new.output_usd) == (1.0, None, 0.0, 0.0)
    assert (new.treated, new.held_out) == ((), ())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("intent", "batch"),
        ("model", "small"),
        ("lane", ("local", "m")),
        ("caller", "nightly"),
        ("priority", -5),
        ("prompt_tokens", 9),
        ("arrived_s", 4.5),
        ("weight", 0.5),
        ("max_tokens", 256),
        ("ttft_objective_s", 1.5),
        ("tpot_objective_s", 0.05),
        ("e2e_objective_s", 30.0),
        ("input_usd", 6e-7),
        ("output_usd", 8e-7),
        ("treated", (3,)),
        ("held_out", (4, 5)),
    ],
)
def test_what_it_is_told_is_what_it_says(field: str, value: object) -> None:
    assert getattr(flight(**{field: value}), field) == value
    assert flight().request == 7


def test_two_flights_share_nothing() -> None:
    one, other = flight(), flight()
    one.ttft_judged = True
    assert not other.ttft_judged


def test_it_has_no_room_for_anything_else() -> None:
    new = flight()
    with pytest.raises(AttributeError):
        new.note = "by the way"  # type: ignore[attr-defined]  # that is the point
    assert not hasattr(new, "__dict__"), "thousands of them are in memory at once"
    assert all(hasattr(new, name) for name in Flight.__struct_fields__), "each is filled"
