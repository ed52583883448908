"""Quantities read what operators write, and nothing else."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.quantities import Duration, Money, Period, Quantity, Share, Size

KINDS = (Duration, Period, Share, Money, Size)


@pytest.mark.req("SEC-4")
@pytest.mark.parametrize(
    ("kind", "raw", "value"),
    [
        (Duration, "800ms", 0.8),
        (Duration, "30s", 30),
        (Duration, " 5 m ", 300),
        (Duration, "1h", 3600),
        (Duration, "2d", 172_800),
        (Duration, "7us", 7e-6),
        (Period, "1m", 60),
        (Period, "day", 86_400),
        (Period, " Day ", 86_400),
        (Duration, 0, 0),
        (Duration, "0", 0),
        (Share, "1%", 0.01),
        (Share, 0.25, 0.25),
        (Share, 1, 1),
        (Money, "2.50 USD", 2.5),
        (Money, "$2.50", 2.5),
        (Money, "2.5 usd", 2.5),
        (Money, 3, 3),
        (Size, "64KiB", 65536),
        (Size, "1MB", 1e6),
        (Size, 512, 512),
    ],
)
def test_a_spelling_has_one_value(kind: type[Quantity], raw: object, value: float) -> None:
    parsed = kind.parse(raw)
    assert type(parsed) is kind
    assert parsed == pytest.approx(value)


@pytest.mark.req("SEC-4")
@pytest.mark.parametrize(
    ("kind", "raw"),
    [
        (Duration, "day"),
        (Period, "2 day"),
        (Period, "week"),
        (Period, 60),
        (Duration, 5),
        (Duration, "5"),
        (Duration, "5 parsecs"),
        (Duration, "-1s"),
        (Duration, "1e999d"),
        (Duration, "9" * 307 + "d"),
        (Duration, 10**400),
        (Duration, True),
        (Duration, None),
        (Duration, []),
        (Share, "101%"),
        (Share, 1.5),
        (Share, -0.1),
        (Share, math.nan),
        (Money, "$2 USD"),
        (Money, "2 EUR"),
        (Size, "1 TiB"),
        (Size, math.inf),
        (Size, {}),
    ],
)
def test_a_wrong_spelling_is_refused_with_the_right_ones(kind: type[Quantity], raw: object) -> None:
    with pytest.raises(ValueError, match=f"expected {kind.spelling[:12]}"):
        kind.parse(raw)


@pytest.mark.req("ADM-6")
@pytest.mark.parametrize(("raw", "calendar"), [("day", True), ("1d", False), ("24h", False)])
def test_a_calendar_day_is_not_any_24_hours(raw: str, calendar: bool) -> None:
    assert Period.parse(raw) == 86_400
    assert Period.parse(raw).calendar_day is calendar


@given(
    kind=st.sampled_from(KINDS),
    raw=st.text() | st.integers() | st.floats() | st.none() | st.booleans() | st.binary(),
)
def test_any_input_is_a_finite_amount_or_a_value_error(kind: type[Quantity], raw: object) -> None:
    try:
        parsed = kind.parse(raw)
    except ValueError:
        return
    assert math.isfinite(parsed)
    assert parsed >= 0
