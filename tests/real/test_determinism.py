"""ENG-4: the same question to the same replica gives the same bytes. See docs/determinism.md."""

import re

import pytest

from tests.support.llama_server import MODEL
from tests.support.setpoint_server import Gateway
from tests.support.wire import events, sse

pytestmark = [pytest.mark.real, pytest.mark.req("ENG-4")]
SEEDS = (0, 1, 2, 3, 42, 1234, 2**31 - 1, 2**32 - 2)
_VARIES = re.compile(rb'"(?:id":"chatcmpl-[0-9a-f]+|created":[0-9]+)')


def stream(gateway: Gateway, seed: int, **more: object) -> bytes:
    """The whole stream, without the two members that name the answer and not its content."""
    body = {
        "model": MODEL,
        "messages": [{"role": "user", "content": "Tell me about the sea."}],
        "temperature": 1.0,
        "max_tokens": 24,
        "seed": seed,
        "stream": True,
        "stream_options": {"include_usage": True},
        "cache_prompt": False,
        **more,
    }
    return _VARIES.sub(b'"', sse(f"{gateway.v1}/chat/completions", body))


def test_eight_seeds_twice_are_the_same_bytes(through_llama_alone: Gateway) -> None:
    first = {seed: stream(through_llama_alone, seed) for seed in SEEDS}
    again = {seed: stream(through_llama_alone, seed) for seed in reversed(SEEDS)}

    assert again == first
    assert len(set(first.values())) == len(SEEDS), "the seed decides, not a cache"
    assert all(events(said)[-1] == b"[DONE]" for said in first.values())


def test_greedy_decoding_needs_no_seed(through_llama_alone: Gateway) -> None:
    greedy = {stream(through_llama_alone, seed, temperature=0) for seed in SEEDS[:3]}
    assert len(greedy) == 1


def test_the_prompt_cache_changes_what_usage_says_and_nothing_else(
    through_llama_alone: Gateway,
) -> None:
    cold = stream(through_llama_alone, 42)
    warm = [stream(through_llama_alone, 42, cache_prompt=True) for _ in range(2)]

    assert warm[0] == warm[1]
    assert events(warm[0])[:-2] == events(cold)[:-2]
    assert b'"cached_tokens":0' in events(cold)[-2]
    assert b'"cached_tokens":0' not in events(warm[0])[-2]
