"""Invented traffic, for benchmarks and the demo: Poisson arrivals at a rate that may change.

Everything follows from the seed, on every machine. Request i of a seed has the same lengths whatever
the rate, so a step, a ramp and a constant rate are compared on the same requests, and two rates that
agree up to some time give the same arrivals up to it. Two kinds of traffic that are `merged` want two
seeds.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise

from adapters.fakellmd.draws import mix, normal, uniform
from gateway.simulation.trace import MAX_ROWS, Arrival

Lengths = tuple[float, float]
"""(mu, sigma) of a lognormal number of tokens: the median is exp(mu). Clipped to `LENGTH_BOUNDS`."""
LENGTH_BOUNDS = (1, 16_384)
PROMPT: Lengths = (6.2, 0.8)
"""Half of the prompts have fewer than 493 tokens, 1 in 20 more than 1 840."""
OUTPUT: Lengths = (4.8, 0.8)
"""Half of the answers have fewer than 122 tokens, 1 in 20 more than 453."""

Rate = Sequence[tuple[float, float]]
"""Knots (seconds, requests/s) in time order, straight lines in between; two at one time are a step."""

_ARRIVAL, _PROMPT, _OUTPUT = 1, 2, 3


def poisson(
    rate_rps: float,
    duration_s: float,
    seed: int,
    *,
    prompt: Lengths = PROMPT,
    output: Lengths = OUTPUT,
    tenant: str = "",
    intent: str = "",
    model: str = "",
) -> list[Arrival]:
    """Arrivals at a constant rate from 0 to `duration_s`. Raises ValueError as `varying` does."""
    rate = constant(rate_rps, duration_s)
    return varying(
        rate, seed, prompt=prompt, output=output, tenant=tenant, intent=intent, model=model
    )


def varying(
    rate: Rate,
    seed: int,
    *,
    prompt: Lengths = PROMPT,
    output: Lengths = OUTPUT,
    tenant: str = "",
    intent: str = "",
    model: str = "",
) -> list[Arrival]:
    """Arrivals of a Poisson process with this rate, from the first knot to the last.

    Raises ValueError for a rate that is negative or not finite, knots out of order, and more than
    `MAX_ROWS` requests.
    """
    _check(rate)
    return [
        Arrival(
            arrival_s,
            _length(prompt, mix(seed, _PROMPT, number)),
            _length(output, mix(seed, _OUTPUT, number)),
            tenant,
            intent,
            model,
        )
        for number, arrival_s in enumerate(accumulate(_times(rate, seed), max))
    ]


def constant(rate_rps: float, duration_s: float) -> Rate:
    """The same rate from 0 to `duration_s`, as all the others."""
    return [(0.0, rate_rps), (duration_s, rate_rps)]


def stepped(rate_rps: float, duration_s: float, *, at_s: float, factor: float) -> Rate:
    """From `at_s` on, `factor` times the rate."""
    after = rate_rps * factor
    return [(0.0, rate_rps), (at_s, rate_rps), (at_s, after), (duration_s, after)]


def ramp(rate_rps: float, duration_s: float, *, factor: float) -> Rate:
    """A straight line to `factor` times the rate."""
    return [(0.0, rate_rps), (duration_s, rate_rps * factor)]


def spike(
    rate_rps: float, duration_s: float, *, at_s: float, lasts_s: float, factor: float
) -> Rate:
    """`factor` times the rate for `lasts_s`, then the rate as before."""
    up = stepped(rate_rps, at_s + lasts_s, at_s=at_s, factor=factor)
    return [*up, (at_s + lasts_s, rate_rps), (duration_s, rate_rps)]


def _check(rate: Rate) -> None:
    if any(not (0.0 <= rps < math.inf) or not math.isfinite(at_s) for at_s, rps in rate):
        raise ValueError(f"a rate is finite and not negative: {list(rate)}")
    legs = list(pairwise(rate))
    if any(later < earlier for (earlier, _), (later, _) in legs):
        raise ValueError(f"the knots of a rate are in time order: {list(rate)}")
    expected = sum((end - start) * (low + high) / 2.0 for (start, low), (end, high) in legs)
    if expected > MAX_ROWS:
        raise ValueError(f"{expected:.0f} requests are more than the {MAX_ROWS} of a trace")


def _times(rate: Rate, seed: int) -> Iterator[float]:
    """A unit-rate process, each of whose times is looked up in the integral of the rate."""
    before, number = 0.0, 0
    wanted = _gap(seed, number)
    for (start_s, low), (end_s, high) in pairwise(rate):
        whole = (end_s - start_s) * (low + high) / 2.0
        while wanted < before + whole:
            lasted_s = _inverse(wanted - before, low, high, end_s - start_s)
            yield min(start_s + lasted_s, end_s)
            number += 1
            wanted += _gap(seed, number)
        before += whole


def _gap(seed: int, number: int) -> float:
    return -math.log(1.0 - uniform(mix(seed, _ARRIVAL, number)))


def _inverse(count: float, low: float, high: float, lasts_s: float) -> float:
    """When a rate that goes from `low` to `high` in `lasts_s` has added up to `count`."""
    if count == 0.0:
        return 0.0
    slope = (high - low) / lasts_s
    # The quadratic's root in the form that also holds for slope 0.
    return 2.0 * count / (low + math.sqrt(max(low * low + 2.0 * slope * count, 0.0)))


def _length(lengths: Lengths, key: int) -> int:
    mu, sigma = lengths
    shortest, longest = LENGTH_BOUNDS
    tokens = math.exp(min(mu + sigma * normal(key), math.log(longest)))
    return min(max(round(tokens), shortest), longest)
