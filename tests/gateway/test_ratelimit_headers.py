"""How a budget stands, in the words of OpenAI's headers."""

import re
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.ratelimit_headers import RatelimitHeaders, go_duration
from policies.budget import Standing
from policies.budget_limit import BudgetLimit, Kind, picodollars

pytestmark = pytest.mark.req("ADM-6")


def standing(kind: Kind, amount: int, used: int, reset_s: float = 1.0) -> Standing:
    limit = BudgetLimit(kind=kind, amount=amount, per_s=60)
    return Standing(limit=limit, used=used, remaining=max(0, amount - used), reset_s=reset_s)


def ratelimit_headers(standings: list[Standing]) -> dict[str, str]:
    uses = [(one.used, one.reset_s) for one in standings]
    lines = RatelimitHeaders([one.limit for one in standings]).lines(uses)
    assert lines.count("\r\n") == lines.count("\n") == lines.count("\r")
    assert not lines or lines.endswith("\r\n")
    return dict(line.split(": ") for line in lines.splitlines())


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.02, "20ms"),
        (0.0201, "21ms"),
        (1, "1s"),
        (8.64, "8.64s"),
        (59.9999, "1m0s"),
        (60, "1m0s"),
        (86.4, "1m26.4s"),
        (360, "6m0s"),
        (3600, "1h0m0s"),
        (86_399.5, "23h59m59.5s"),
        (31 * 86_400, "744h0m0s"),
    ],
)
def test_a_duration_as_go_writes_it(seconds: float, text: str) -> None:
    assert go_duration(seconds) == text


@given(seconds=st.floats(0, 1e7))
def test_a_duration_is_never_told_shorter_and_less_than_two_milliseconds_longer(
    seconds: float,
) -> None:
    text = go_duration(seconds)
    units = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
    parts = re.findall(r"([\d.]+)(ms|h|m|s)", text)
    assert "".join(map("".join, parts)) == text
    told_s = sum(float(number) * units[unit] for number, unit in parts)
    assert seconds - 1e-5 <= told_s < seconds + 0.002


def test_only_what_is_limited_is_told() -> None:
    assert ratelimit_headers([]) == {}
    assert ratelimit_headers([standing("tokens", 100, 30, 90)]) == {
        "x-ratelimit-limit-tokens": "100",
        "x-ratelimit-remaining-tokens": "70",
        "x-ratelimit-reset-tokens": "1m30s",
    }


def test_of_several_limits_the_one_with_the_smallest_share_left_is_told() -> None:
    headers = ratelimit_headers(
        [standing("requests", 10, 1), standing("requests", 1000, 999), standing("requests", 5, 1)]
    )
    assert headers["x-ratelimit-limit-requests"] == "1000"
    assert headers["x-ratelimit-remaining-requests"] == "1"


def test_of_two_limits_with_debts_the_first_is_told() -> None:
    headers = ratelimit_headers([standing("tokens", 100, 130), standing("tokens", 50, 500)])
    assert headers["x-ratelimit-limit-tokens"] == "100"


@given(resets_s=st.tuples(*[st.sampled_from([0.0, 1.0, 61.5])] * 3))
def test_each_kind_is_told_when_it_is_free_again(resets_s: tuple[float, float, float]) -> None:
    kinds: tuple[Kind, ...] = ("requests", "tokens", "cost")
    headers = ratelimit_headers(
        [standing(kind, 9, 1, reset_s) for kind, reset_s in zip(kinds, resets_s, strict=True)]
    )
    names = (
        "x-ratelimit-reset-requests",
        "x-ratelimit-reset-tokens",
        "x-setpoint-budget-reset-usd",
    )
    assert [headers[name] for name in names] == [go_duration(reset_s) for reset_s in resets_s]


def test_a_debt_is_told_as_nothing_left() -> None:
    headers = ratelimit_headers([standing("tokens", 100, 130)])
    assert headers["x-ratelimit-remaining-tokens"] == "0"


@pytest.mark.parametrize(
    ("usd", "text"), [(5.0, "5"), (0.25, "0.25"), (1e-6, "0.000001"), (9e-7, "0"), (12.3, "12.3")]
)
def test_money_is_told_to_a_millionth_of_a_dollar(usd: float, text: str) -> None:
    headers = ratelimit_headers([standing("cost", picodollars(20), picodollars(20 - usd))])
    assert headers["x-setpoint-budget-limit-usd"] == "20"
    assert headers["x-setpoint-budget-remaining-usd"] == text


@given(amount=st.integers(0, 10**20))
def test_money_is_told_to_the_last_millionth_and_never_as_more_than_there_is(amount: int) -> None:
    headers = ratelimit_headers([standing("cost", amount or 1, 0 if amount else 1)])
    text = headers["x-setpoint-budget-remaining-usd"]
    assert Decimal(text) == Decimal(amount // 10**6) / 10**6
    assert text == "0" or (not text.endswith(".0") and ("." not in text or text[-1] != "0"))
