"""What an answer costs: by the backend's count and the operator's prices, or unknown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.catalog import ModelCard
from contracts.events import Usage
from policies.price import DIGITS, cost_usd

pytestmark = pytest.mark.req("RUN-7")


def card(**prices: float) -> ModelCard:
    return ModelCard(name="m", pool="p", upstream="m", **prices)


USAGE = Usage(prompt_tokens=1000, completion_tokens=100, cached_tokens=600)


@pytest.mark.parametrize(
    ("prices", "usd"),
    [
        ({"input_price": 1.0, "output_price": 2.0, "cached_input_price": 0.5}, 0.0009),
        ({"input_price": 1.0, "output_price": 2.0}, 0.0012),
        ({"input_price": 0.0, "output_price": 0.0}, 0.0),
        ({"input_price": 1.0, "output_price": 2.0, "cached_input_price": 0.0}, 0.0006),
        ({"input_price": 1.0}, None),
        ({}, None),
    ],
)
def test_a_price_times_what_was_counted(prices: dict[str, float], usd: float | None) -> None:
    assert cost_usd(card(**prices), USAGE) == usd


def test_what_was_not_counted_has_no_cost() -> None:
    priced = card(input_price=1.0, output_price=2.0)
    assert cost_usd(priced, None) is None
    assert cost_usd(None, USAGE) is None
    assert cost_usd(priced, Usage(prompt_tokens=1000, completion_tokens=100)) == 0.0012


def test_an_estimate_has_no_cost() -> None:
    priced = card(input_price=1.0, output_price=2.0)
    guessed = Usage(prompt_tokens=1000, completion_tokens=100, estimated=True)
    assert cost_usd(priced, guessed) is None
    assert cost_usd(card(input_price=0.0, output_price=0.0), guessed) is None


@pytest.mark.parametrize(("price", "usd"), [(None, 0.0034), (5.0, 0.0036), (0.0, 0.0026)], ids=str)
def test_what_goes_into_the_cache_has_its_price(price: float | None, usd: float) -> None:
    prices = {} if price is None else {"cache_write_price": price}
    found = card(input_price=4.0, output_price=8.0, cached_input_price=0.5, **prices)
    used = Usage(
        prompt_tokens=1000, completion_tokens=100, cached_tokens=400, cache_write_tokens=200
    )
    assert cost_usd(found, used) == usd


@given(
    prompt=st.integers(0, 10**7),
    cached=st.integers(0, 10**8),
    completion=st.integers(0, 10**6),
)
def test_more_in_the_cache_never_costs_more(prompt: int, cached: int, completion: int) -> None:
    priced = card(input_price=3.0, output_price=15.0, cached_input_price=0.3)
    all_fresh = cost_usd(priced, Usage(prompt_tokens=prompt, completion_tokens=completion))
    some = Usage(prompt_tokens=prompt, completion_tokens=completion, cached_tokens=cached)
    found = cost_usd(priced, some)
    assert found is not None
    assert all_fresh is not None
    assert 0 <= found <= all_fresh


TOKENS = st.integers(0, 10**7)
MICRODOLLARS = st.integers(0, 400 * 10**6)
"""For a million tokens: prices are told with up to six digits."""


@pytest.mark.req("OPS-4")
@given(prompt=TOKENS, completion=TOKENS, input_price=MICRODOLLARS, output_price=MICRODOLLARS)
def test_it_is_rounded_to_its_last_digit(
    prompt: int, completion: int, input_price: int, output_price: int
) -> None:
    priced = card(input_price=input_price / 1e6, output_price=output_price / 1e6)
    found = cost_usd(priced, Usage(prompt_tokens=prompt, completion_tokens=completion))
    exact = (prompt * input_price + completion * output_price) / 10**DIGITS
    assert found == round(exact, DIGITS)
