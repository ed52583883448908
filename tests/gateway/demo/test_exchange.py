"""What a client can say of one request, and what it cost when."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.demo.deployment import BIG
from gateway.demo.exchange import Exchange
from gateway.demo.scenario import Arrival

pytestmark = pytest.mark.req("INT-10")
TENTHS = st.integers(0, 300).map(lambda tenths: tenths / 10)


def test_the_first_token_is_awaited_from_when_the_request_was_due(
    make_answered: Callable[..., Exchange],
) -> None:
    exchange = make_answered(5.0, ttft_s=0.3)
    exchange.sent_s = 5.2  # a busy client
    assert exchange.ttft_s == pytest.approx(0.3)


def test_a_tokens_time_is_the_mean_gap_after_the_first(
    make_answered: Callable[..., Exchange],
) -> None:
    assert make_answered(5.0, tpot_s=0.04).tpot_s == pytest.approx(0.04)


def test_one_token_has_no_pace(make_answered: Callable[..., Exchange]) -> None:
    exchange = make_answered(5.0)
    exchange.output_tokens = 1
    assert exchange.tpot_s is None


@given(first_s=TENTHS, wrote_s=TENTHS, tokens=st.integers(1, 200))
def test_what_is_spent_over_time_is_what_it_cost(
    first_s: float, wrote_s: float, tokens: int
) -> None:
    exchange = Exchange(
        arrival=Arrival(at_s=0.0, prompt_tokens=100, output_tokens=tokens),
        first_s=first_s,
        last_s=first_s + wrote_s,
        model=BIG.name,
        prompt_tokens=100,
        output_tokens=tokens,
    )
    spending = list(exchange.spending())
    assert sum(usd for _, usd in spending) == pytest.approx(exchange.usd)
    assert all(usd >= 0 for _, usd in spending)
    assert all(first_s - 1 < second <= first_s + wrote_s for second, _ in spending)


def test_the_prompt_is_paid_with_the_first_token(make_answered: Callable[..., Exchange]) -> None:
    exchange = make_answered(5.0, ttft_s=0.5, tpot_s=0.1)  # writes from 5.5 to 10.5
    by_second = dict[int, float]()
    for second, usd in exchange.spending():
        by_second[second] = by_second.get(second, 0.0) + usd
    writing = BIG.usd(0, exchange.output_tokens)
    assert by_second[5] == pytest.approx(BIG.usd(100, 0) + writing * 0.1)
    assert by_second[7] == pytest.approx(writing * 0.2)
    assert by_second[10] == pytest.approx(writing * 0.1)


def test_what_was_never_answered_cost_nothing(make_refused: Callable[[float], Exchange]) -> None:
    exchange = make_refused(5.0)
    assert list(exchange.spending()) == []
    assert exchange.usd == 0.0
    assert exchange.ttft_s is None
    assert exchange.tpot_s is None
