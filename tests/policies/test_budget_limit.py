"""Limits in words, and money in whole numbers."""

import pytest

from policies.budget_limit import BudgetLimit, Kind, picodollars, spelled

pytestmark = pytest.mark.req("ADM-6")


@pytest.mark.parametrize(
    ("kind", "amount", "per_s", "label"),
    [
        ("requests", 60, 60, "60 requests per 1m"),
        ("requests", 1, 90, "1 request per 90s"),
        ("tokens", 100_000, 3600, "100000 tokens per 1h"),
        ("tokens", 5, 86_400, "5 tokens per 1d"),
        ("cost", picodollars(2.5), 0.5, "2.5 USD per 0.5s"),
    ],
)
def test_a_limit_in_words(kind: Kind, amount: int, per_s: float, label: str) -> None:
    assert BudgetLimit(kind=kind, amount=amount, per_s=per_s).label == label


def test_a_calendar_day_is_not_any_24_hours() -> None:
    limit = BudgetLimit(kind="requests", amount=9, per_s=86_400, calendar_day=True)
    assert limit.label == "9 requests per day"


def test_money_is_exact_where_floats_are_not() -> None:
    assert picodollars(0.1) + picodollars(0.2) == picodollars(0.3)
    assert spelled("cost", 3 * picodollars(0.1)) == "0.3 USD"
