"""The statistics of the bench."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bench.samples import Samples, quantile

integers = st.lists(st.integers(0, 9), min_size=1, max_size=200)


@given(integers, st.sampled_from([0.5, 0.99]))
def test_a_quantile_is_the_smallest_value_that_enough_do_not_exceed(
    values: list[int], share: float
) -> None:
    found = quantile([float(value) for value in values], share)
    assert sum(value <= found for value in values) >= share * len(values)
    assert sum(value < found for value in values) < share * len(values)


def test_no_values_have_no_quantile() -> None:
    with pytest.raises(ValueError, match="no values"):
        quantile([], 0.5)


def test_samples_show_their_middle_and_their_spread() -> None:
    assert Samples([1e-6, 5e-6, 2e-6]).text(1e6) == "2.0 (1.0 to 5.0)"
    assert Samples([1234567.0]).text(digits=0) == "1 234 567"


def test_a_ratio_is_taken_round_by_round() -> None:
    """A round in which everything is ten times as slow changes no ratio."""
    assert Samples([2.0, 20.0, 2.0]).over(Samples([1.0, 10.0, 1.0])).values == [2.0, 2.0, 2.0]
    assert Samples([3.0, 30.0]).less(Samples([1.0, 10.0])).values == [2.0, 20.0]
