"""What a model's tokens cost in whole picodollars, against the price that a client is told."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.catalog import Catalog, ModelCard
from contracts.events import Usage
from policies.budget_limit import picodollars
from policies.price import cost_usd
from policies.terms import UNKNOWN, Terms, terms_of

pytestmark = pytest.mark.req("ADM-6")
prices = st.integers(0, 100_000).map(lambda cents: cents / 100)
tokens = st.integers(0, 1_000_000)


def terms(**card: float | None) -> Terms:
    return terms_of(Catalog(models={"m": ModelCard(name="m", pool="p", upstream="u", **card)}))["m"]  # type: ignore[arg-type]


@given(
    prompt=prices,
    answer=prices,
    cached_price=st.none() | prices,
    write_price=st.none() | prices,
    usage=st.builds(
        Usage,
        prompt_tokens=tokens,
        completion_tokens=tokens,
        cached_tokens=st.none() | tokens,
        cache_write_tokens=st.none() | tokens,
    ),
)
def test_a_budget_counts_what_the_client_is_told(
    prompt: float,
    answer: float,
    cached_price: float | None,
    write_price: float | None,
    usage: Usage,
) -> None:
    card = ModelCard(
        name="m",
        pool="p",
        upstream="u",
        input_price=prompt,
        output_price=answer,
        cached_input_price=cached_price,
        cache_write_price=write_price,
    )
    counted = terms_of(Catalog(models={"m": card}))["m"].cost(
        usage.prompt_tokens, usage.completion_tokens, usage
    )
    told = cost_usd(card, usage)
    assert counted is not None
    assert told is not None
    assert abs(counted - picodollars(told)) <= max(2, counted // 10**14)


@pytest.mark.parametrize("card", [{}, {"input_price": 1.0}, {"output_price": 1.0}])
def test_half_a_price_is_none(card: dict[str, float | None]) -> None:
    assert terms(**card).cost(1, 1) is None


def test_what_is_free_costs_nothing_and_what_nobody_knows_is_not_free() -> None:
    assert terms(input_price=0.0, output_price=0.0).cost(5, 5) == 0
    assert UNKNOWN.cost(5, 5) is None
