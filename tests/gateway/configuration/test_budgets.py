"""What a caller may use up."""

from pathlib import Path

import pytest

from tests.support.configured import load_text, problems


@pytest.mark.req("ADM-6")
def test_a_caller_has_its_own_budget_none_or_the_default(tmp_path: Path) -> None:
    loaded = load_text(
        tmp_path,
        """
auth:
  default_budget: [{requests: 60, per: 1m}]
  keys:
    - {name: a, token: x, budget: [{tokens: 1000, per: 1h}, {cost: 2.50 USD, per: day}]}
    - {name: b, token: y, budget: []}
    - {name: c, token: z}
""",
    )
    own, empty, default = (caller.budget for caller in loaded.callers)
    assert own is not None
    assert [(e.tokens, e.cost, e.per, e.per.calendar_day) for e in own] == [
        (1000, None, 3600, False),
        (None, 2.5, 86_400, True),
    ]
    assert (empty, default) == ((), None)
    assert loaded.config.auth.default_budget[0].requests == 60


@pytest.mark.req("ADM-6", "SEC-4")
@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("{per: 1m}", "[1]: exactly one of requests, tokens and cost is needed"),
        ("{requests: 1, tokens: 1, per: 1m}", "[1]: exactly one of requests, tokens and cost"),
        ("{requests: 1}", "[1]: the field 'per' is missing"),
        ("{requests: 1, per: 999ms}", "[1].per: must be from 1s to 31d"),
        ("{requests: 1, per: 32d}", "[1].per: must be from 1s to 31d"),
        ("{requests: 1, per: 0}", "[1].per: must be more than zero"),
        ("{cost: 0, per: day}", "[1].cost: must be more than zero"),
        ("{requests: 5, per: 60s}", "[1]: a second limit of requests for the same time"),
    ],
)
def test_a_limit_that_says_nothing_clear_is_named_at_its_place(
    tmp_path: Path, entry: str, said: str
) -> None:
    budget = f"[{{requests: 60, per: 1m}}, {entry}]"
    for auth, path in (
        (f"default_budget: {budget}", "auth.default_budget"),
        (f"keys: [{{name: a, token: x, budget: {budget}}}]", "auth.keys[0].budget"),
    ):
        (problem,) = problems(tmp_path, f"auth: {{{auth}}}\n")
        assert f"{path}{said}" in problem


@pytest.mark.req("ADM-6")
def test_24_hours_and_the_calendar_day_are_two_limits(tmp_path: Path) -> None:
    budget = "[{requests: 5, per: day}, {requests: 5, per: 1d}]"
    assert load_text(tmp_path, f"auth: {{default_budget: {budget}}}\n")
