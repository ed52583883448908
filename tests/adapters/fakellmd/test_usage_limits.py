"""Ceilings: one for each band, and what they do as the pool fills."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.fakellmd.epp_settings import UsageLimit
from adapters.fakellmd.usage_limits import UsageLimits

pytestmark = pytest.mark.req("INT-9")
BANDS = [10, 0, -10]


def test_by_default_every_band_stops_at_one() -> None:
    assert UsageLimits(UsageLimit()).ceilings(0.3, BANDS) == [1.0, 1.0, 1.0]
    half = UsageLimits(UsageLimit(ceiling=0.5))
    assert half.ceilings(0.3, BANDS) == [0.5, 0.5, 0.5]


def test_holdback_spreads_ceilings_evenly_from_the_highest_band_down() -> None:
    limits = UsageLimits(UsageLimit(policy="priority-holdback", min_ceiling=0.5, max_ceiling=0.9))
    assert limits.ceilings(0.0, BANDS) == pytest.approx([0.9, 0.7, 0.5])
    assert limits.ceilings(5.0, [0]) == [0.9]
    assert not limits.pulsing


def openings(saturation: float, cycles: int) -> list[int]:
    """In how many of `cycles` each band was open."""
    limits = UsageLimits(UsageLimit(policy="soft-reflective"))
    seen = [limits.ceilings(saturation, BANDS) for _ in range(cycles)]
    return [sum(saturation < row[band] for row in seen) for band in range(len(BANDS))]


@pytest.mark.parametrize(
    ("saturation", "expected"),
    [
        (0.2, [60, 60, 60]),
        (0.5, [60, 60, 60]),  # the lowest is at its ceiling: open every 1st cycle
        (0.62, [60, 60, 30]),  # round(0.62 / 0.38) = 2
        (0.75, [60, 20, 20]),  # round(3) = 3; the middle one's ceiling is 0.625
        (0.9, [60, 6, 6]),  # 0.9 / 0.1 is 9
        (1.0, [0, 0, 0]),
        (1.5, [0, 0, 0]),
    ],
)
def test_a_reflective_ceiling_opens_a_band_in_one_of_so_many_cycles(
    saturation: float, expected: list[int]
) -> None:
    assert openings(saturation, 60) == pytest.approx(expected, abs=1)


def test_a_band_exactly_at_its_reflective_ceiling_pulses() -> None:
    limits = UsageLimits(UsageLimit(policy="soft-reflective"))
    second = [limits.ceilings(0.8, [4, 3, 2, 1, 0])[1] for _ in range(8)]  # 1 - 0.8 / 4 is 0.8
    assert second == [0, 0, 0, 1, 0, 0, 0, 1]


def test_a_band_that_pulses_is_worth_asking_again_and_one_that_is_shut_is_not() -> None:
    limits = UsageLimits(UsageLimit(policy="soft-reflective"))
    for saturation, pulsing in ((0.1, False), (0.8, True), (1.0, False)):
        limits.ceilings(saturation, BANDS)
        assert limits.pulsing is pulsing
    assert limits.ceilings(0.99, [0]) == [1.0]


@given(
    saturation=st.integers(0, 30).map(lambda tenths: tenths / 20),
    policy=st.sampled_from(["static", "priority-holdback", "soft-reflective"]),
    bands=st.integers(1, 6),
)
def test_no_band_has_a_higher_ceiling_than_one_above_it_when_all_are_asked_alike(
    saturation: float, policy: str, bands: int
) -> None:
    limits = UsageLimits(UsageLimit(policy=policy))
    for _ in range(5):
        ceilings = limits.ceilings(saturation, list(range(bands, 0, -1)))
        assert len(ceilings) == bands
        assert all(0 <= ceiling <= 1 for ceiling in ceilings)
        if policy != "soft-reflective":
            assert ceilings == sorted(ceilings, reverse=True)
