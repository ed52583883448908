"""How much of its limits a provider says is left."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.anthropic import AnthropicDialect
from adapters.dialect import WireHead
from adapters.openai import OpenAIDialect
from adapters.rate_limits import MAX_RESET_S, Allowance, RateLimits
from adapters.registry import DIALECTS, dialect_for

pytestmark = pytest.mark.req("RUN-6")
DATE = "Wed, 21 Oct 2026 07:28:00 GMT"


def openai(**headers: str) -> RateLimits | None:
    named = {f"x-ratelimit-{name.replace('_', '-')}": value for name, value in headers.items()}
    return OpenAIDialect().rate_limits(WireHead(status=200, headers=named))


def anthropic(**headers: str) -> RateLimits | None:
    named = {f"anthropic-ratelimit-{n.replace('_', '-')}": v for n, v in headers.items()}
    return AnthropicDialect().rate_limits(WireHead(status=200, headers={**named, "date": DATE}))


def test_openai_tells_of_requests_and_of_tokens() -> None:
    told = openai(
        limit_requests="10000",
        remaining_requests="9999",
        reset_requests="8.64s",
        limit_tokens="200000",
        remaining_tokens="0",
        reset_tokens="6m0s",
    )
    assert told == RateLimits(
        requests=Allowance(remaining=9999, limit=10000, reset_s=8.64),
        tokens=Allowance(remaining=0, limit=200000, reset_s=360.0),
    )


def test_anthropic_tells_when_and_of_several_kinds_of_tokens_the_scarcest_counts() -> None:
    told = anthropic(
        requests_limit="50",
        requests_remaining="49",
        requests_reset="2026-10-21T07:28:30Z",
        input_tokens_limit="1000",
        input_tokens_remaining="900",
        input_tokens_reset="2026-10-21T07:28:01Z",
        output_tokens_limit="100",
        output_tokens_remaining="5",
        output_tokens_reset="2026-10-21T07:29:00Z",
    )
    assert told == RateLimits(
        requests=Allowance(remaining=49, limit=50, reset_s=30.0),
        tokens=Allowance(remaining=5, limit=100, reset_s=60.0),
    )


def test_tokens_that_are_counted_by_use_count_too() -> None:
    headers = {"x-ratelimit-remaining-tokens_usage_based": "3"}
    told = OpenAIDialect().rate_limits(WireHead(status=200, headers=headers))
    assert told == RateLimits(tokens=Allowance(remaining=3))


@pytest.mark.parametrize("engine", sorted(DIALECTS))
def test_an_answer_without_such_headers_tells_nothing(engine: str) -> None:
    head = WireHead(status=200, headers={"content-type": "text/event-stream", "date": DATE})
    assert dialect_for(engine).rate_limits(head) is None


@pytest.mark.parametrize(
    ("text", "reset_s"),
    [
        ("12ms", 0.012),
        ("1s", 1.0),
        ("1m30.5s", 90.5),
        ("2h0m0s", 7200.0),
        ("880us", 0.00088),
        ("7", 7.0),
        ("0s", 0.0),
        ("24h0m1s", None),
        ("-1s", None),
        ("soon", None),
        ("1x", None),
        ("", None),
    ],
)
def test_a_reset_is_a_bounded_duration(text: str, reset_s: float | None) -> None:
    told = openai(remaining_tokens="5", reset_tokens=text)
    assert told is not None
    assert told.tokens is not None
    assert told.tokens.reset_s == (reset_s if reset_s is None else pytest.approx(reset_s))


@pytest.mark.parametrize("remaining", ["-1", "", "many", "1e3", "9" * 40, "²"])
def test_a_number_that_is_none_is_not_known(remaining: str) -> None:
    """Azure says -1 where it does not know."""
    assert openai(remaining_tokens=remaining, limit_tokens="5") is None


def test_a_limit_of_nothing_is_none() -> None:
    assert openai(remaining_requests="0", limit_requests="0") is None


@pytest.mark.parametrize(
    ("left", "wait_s"),
    [
        ({"requests": (0, 2.0), "tokens": (5, 60.0)}, 2.0),
        ({"requests": (0, 2.0), "tokens": (0, 60.0)}, 60.0),
        ({"requests": (1, 2.0)}, None),
        ({"tokens": (0, None)}, None),
    ],
)
def test_who_was_refused_waits_for_what_is_used_up(left: Any, wait_s: float | None) -> None:
    kinds = {k: Allowance(remaining=n, reset_s=reset_s) for k, (n, reset_s) in left.items()}
    assert RateLimits(**kinds).wait_s == wait_s


def test_what_is_over_its_reset_is_not_known_any_more() -> None:
    told = RateLimits(
        requests=Allowance(remaining=1, limit=9, reset_s=10.0),
        tokens=Allowance(remaining=0, limit=9, reset_s=60.0),
    )
    later = told.after(20.0)
    assert later == RateLimits(tokens=Allowance(remaining=0, limit=9, reset_s=40.0))
    assert told.after(60.0) is None
    assert RateLimits(requests=Allowance(remaining=1)).after(MAX_RESET_S) is None


@given(texts=st.dictionaries(st.sampled_from(["limit", "remaining", "reset"]), st.text(max_size=9)))
def test_no_header_raises(texts: dict[str, str]) -> None:
    openai(**{f"{what}_tokens": text for what, text in texts.items()})
    anthropic(**{f"tokens_{what}": text for what, text in texts.items()})
