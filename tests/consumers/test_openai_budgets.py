"""The openai SDK for Python with a caller that has a budget: what it reads, and when it gives up."""

import re
from collections.abc import Callable

import openai
import pytest

from tests.support.setpoint_server import Gateway

pytestmark = pytest.mark.req("ADM-6", "OPS-4")

HELLO = [{"role": "user", "content": "Say hello."}]
CONFIG = """
auth:
  keys:
    - {name: minute, token: minute-token, budget: [{requests: 2, per: 1m}, {tokens: 5000, per: 1m}]}
    - {name: daily, token: daily-token, budget: [{requests: 1, per: 31d}, {cost: 1 USD, per: day}]}
"""


@pytest.fixture
def budgeted(make_gateway: Callable[[str], Gateway]) -> Gateway:
    return make_gateway(CONFIG)


def test_the_sdk_reads_how_its_budget_stands(
    sdk: Callable[..., openai.OpenAI], budgeted: Gateway
) -> None:
    raw = sdk(budgeted, token="minute-token").chat.completions.with_raw_response
    answer = raw.create(model="assistant", messages=HELLO, max_tokens=12)
    usage = answer.parse().usage
    assert usage is not None
    assert answer.headers["x-ratelimit-limit-requests"] == "2"
    assert answer.headers["x-ratelimit-remaining-requests"] == "1"
    assert answer.headers["x-ratelimit-limit-tokens"] == "5000"
    reset = answer.headers["x-ratelimit-reset-requests"]
    assert re.fullmatch(r"(1m0|[1-5]?\d)(\.\d+)?s", reset), "a minute, less what the answer took"

    streamed = raw.create(model="assistant", messages=HELLO, max_tokens=12, stream=True)
    assert streamed.headers["x-ratelimit-remaining-requests"] == "0"
    assert list(streamed.parse())

    with pytest.raises(openai.RateLimitError) as refused:
        raw.create(model="assistant", messages=HELLO, max_tokens=12)
    assert refused.value.code == "budget_exceeded"
    assert refused.value.response.headers["x-ratelimit-remaining-requests"] == "0"
    left = int(refused.value.response.headers["x-ratelimit-remaining-tokens"])
    assert 5000 - 2 * (usage.total_tokens + 12) <= left <= 5000 - usage.total_tokens


def test_the_sdk_does_not_wait_for_a_budget_that_is_used_up_for_long(
    sdk: Callable[..., openai.OpenAI], budgeted: Gateway
) -> None:
    client = sdk(budgeted, token="daily-token").with_options(max_retries=5)
    chat = client.chat.completions.with_raw_response
    paid = chat.create(model="assistant", messages=HELLO, max_tokens=12)
    assert paid.headers["x-setpoint-budget-limit-usd"] == "1"
    assert 0.99 < float(paid.headers["x-setpoint-budget-remaining-usd"]) < 1
    # Were it repeated, each of the five would wait, and the test with it.
    with pytest.raises(openai.RateLimitError) as refused:
        chat.create(model="assistant", messages=HELLO, max_tokens=12)
    assert refused.value.response.headers["x-should-retry"] == "false"
    assert refused.value.response.request.headers["x-stainless-retry-count"] == "0"
