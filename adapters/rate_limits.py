"""What a provider says is left of its limits, from the head of an answer. Pure.

Two ways of writing them: OpenAI's `x-ratelimit-*`, with the time until the reset, and Anthropic's
`anthropic-ratelimit-*`, with its moment. What must stay true: a number that is not known is None and never 0,
and an answer without such headers costs a few look-ups and nothing more.
"""

import re
from collections.abc import Mapping

import msgspec

from adapters.moments import seconds_until

MAX_RESET_S = 86_400.0
"""A reset further off is none that anybody waits for."""
UNDATED_S = 60.0
"""For how long a number counts whose reset is not known."""
_WHOLE = re.compile(r"[0-9]{1,15}")
_PIECE = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(h|ms|m|s|us|µs|ns)")
_UNIT_S = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_SECONDS = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9})?")


class Allowance(msgspec.Struct, frozen=True, kw_only=True):
    """What may still be asked for before `reset_s` seconds have passed."""

    remaining: int
    limit: int | None = None
    reset_s: float | None = None

    @property
    def share(self) -> float:
        """Of the limit, 0 to 1; 1 where the limit is not known."""
        return self.remaining / self.limit if self.limit else 1.0


class RateLimits(msgspec.Struct, frozen=True, kw_only=True):
    """As one answer's head tells it. None: it does not say."""

    requests: Allowance | None = None
    tokens: Allowance | None = None

    @property
    def wait_s(self) -> float | None:
        """When whoever was refused may come back: the reset of what is used up."""
        used_up = [a for a in (self.requests, self.tokens) if a is not None and a.remaining == 0]
        return max((a.reset_s for a in used_up if a.reset_s is not None), default=None)

    def after(self, elapsed_s: float) -> "RateLimits | None":
        """What of it is still known so much later; None: nothing."""
        requests, tokens = _later(self.requests, elapsed_s), _later(self.tokens, elapsed_s)
        if requests is None and tokens is None:
            return None
        return RateLimits(requests=requests, tokens=tokens)


def _later(told: Allowance | None, elapsed_s: float) -> Allowance | None:
    if told is None or elapsed_s >= (UNDATED_S if told.reset_s is None else told.reset_s):
        return None
    reset_s = None if told.reset_s is None else told.reset_s - elapsed_s
    return msgspec.structs.replace(told, reset_s=reset_s)


class _Names(msgspec.Struct, frozen=True):
    remaining: str
    limit: str
    reset: str


def _names(pattern: str) -> _Names:
    return _Names(*(pattern.format(what) for what in ("remaining", "limit", "reset")))


class LimitHeaders(msgspec.Struct, frozen=True, kw_only=True):
    """Under which names a provider tells it; of several for one kind the scarcest counts."""

    requests: tuple[_Names, ...]
    tokens: tuple[_Names, ...]
    remaining: frozenset[str]
    """Of both kinds: where none of these is there, nothing is told."""


def _limit_headers(*, requests: tuple[_Names, ...], tokens: tuple[_Names, ...]) -> LimitHeaders:
    remaining = frozenset(names.remaining for names in (*requests, *tokens))
    return LimitHeaders(requests=requests, tokens=tokens, remaining=remaining)


OPENAI = _limit_headers(
    requests=(_names("x-ratelimit-{}-requests"),),
    tokens=(_names("x-ratelimit-{}-tokens"), _names("x-ratelimit-{}-tokens_usage_based")),
)
ANTHROPIC = _limit_headers(
    requests=(_names("anthropic-ratelimit-requests-{}"),),
    tokens=(
        _names("anthropic-ratelimit-tokens-{}"),
        _names("anthropic-ratelimit-input-tokens-{}"),
        _names("anthropic-ratelimit-output-tokens-{}"),
    ),
)


def read_rate_limits(headers: Mapping[str, str], names: LimitHeaders) -> RateLimits | None:
    """What the headers of an answer say; None: nothing. Never raises."""
    if names.remaining.isdisjoint(headers):
        return None
    requests, tokens = _scarcest(headers, names.requests), _scarcest(headers, names.tokens)
    if requests is None and tokens is None:
        return None
    return RateLimits(requests=requests, tokens=tokens)


def _scarcest(headers: Mapping[str, str], kinds: tuple[_Names, ...]) -> Allowance | None:
    told = [a for n in kinds if n.remaining in headers and (a := _allowance(headers, n))]
    return min(told, key=lambda allowance: allowance.share, default=None)


def _allowance(headers: Mapping[str, str], names: _Names) -> Allowance | None:
    remaining, limit = _count(headers[names.remaining]), _count(headers.get(names.limit, ""))
    if remaining is None or limit == 0:  # Azure's way of saying that it does not know
        return None
    reset_s = _reset_s(headers.get(names.reset, "").strip(), headers)
    return Allowance(remaining=remaining, limit=limit, reset_s=reset_s)


def _count(text: str) -> int | None:
    return int(text) if _WHOLE.fullmatch(text.strip()) else None


def _reset_s(text: str, headers: Mapping[str, str]) -> float | None:
    """From a duration as Go writes it (`6m0s`, `12ms`), a number of seconds, or a moment."""
    if _SECONDS.fullmatch(text):
        seconds: float | None = float(text)
    elif text and not _PIECE.sub("", text):
        seconds = sum(float(number) * _UNIT_S[unit] for number, unit in _PIECE.findall(text))
    else:
        seconds = seconds_until(text, headers)
    return seconds if seconds is not None and seconds <= MAX_RESET_S else None
