"""What the demo's traffic is like, and what was promised to it. Values, and a schedule made from a seed.

Must stay true: the same scenario gives the same requests at the same times, whatever becomes of them (an
open loop: nobody waits for an answer before asking again).
"""

import random

import msgspec

INTENT = "interactive"
PROMPT_TOKENS = (80, 240)
OUTPUT_TOKENS = (40, 88)
"""Bounds of what a request asks for; every length between them is as likely."""
CALM_RPS, SPIKE = 3.75, 3.0
"""Requests a second while it is calm: 0.54 of what the big model can serve as promised. The spike is so
many times that."""
GRACE_S = 8.0
"""Of the spike's start, in which the loop must first see that a promise is broken, and act."""
MIN_SECONDS, MAX_SECONDS = 10.0, 300.0


class Promise(msgspec.Struct, frozen=True, kw_only=True):
    """What the intent was promised. `error_share` is of requests; cost is over every `window_s`."""

    ttft_p95_s: float = 0.8
    tpot_p95_s: float = 0.04
    error_share: float = 0.01
    usd_per_minute: float = 0.75
    window_s: float = 10.0


class Phase(msgspec.Struct, frozen=True, kw_only=True):
    """Some seconds of traffic with one rate."""

    name: str
    seconds: float
    rate_rps: float


class Stretch(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the run that is looked at by itself: requests due in [from_s, to_s)."""

    name: str
    from_s: float
    to_s: float
    judged: bool = True


class Arrival(msgspec.Struct, frozen=True, kw_only=True):
    """One request of the schedule. `at_s` counts from the run's start."""

    at_s: float
    prompt_tokens: int
    output_tokens: int


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """Three phases, of which the second is the spike."""

    calm: Phase
    spike: Phase
    after: Phase
    seed: int = 1
    promise: Promise = Promise()
    grace_s: float = GRACE_S

    @property
    def phases(self) -> tuple[Phase, ...]:
        return self.calm, self.spike, self.after

    @property
    def spike_from_s(self) -> float:
        return self.calm.seconds

    @property
    def spike_to_s(self) -> float:
        return self.calm.seconds + self.spike.seconds

    @property
    def span_s(self) -> float:
        return self.spike_to_s + self.after.seconds

    @property
    def stretches(self) -> tuple[Stretch, ...]:
        """The phases, the spike's first seconds apart: all but those are judged."""
        grace_to_s = self.spike_from_s + self.grace_s
        spike = self.spike.name
        return (
            Stretch(name=self.calm.name, from_s=0.0, to_s=self.spike_from_s),
            Stretch(
                name=f"{spike}, first {self.grace_s:g} s",
                from_s=self.spike_from_s,
                to_s=grace_to_s,
                judged=False,
            ),
            Stretch(name=f"{spike}, the rest", from_s=grace_to_s, to_s=self.spike_to_s),
            Stretch(name=self.after.name, from_s=self.spike_to_s, to_s=self.span_s),
        )

    def judged_from_s(self, stretch: Stretch) -> float:
        """Where the unbroken time of the same kind, judged or not, begins that a stretch is in."""
        begins_s = stretch.from_s
        for earlier in reversed(self.stretches):
            if earlier.to_s == begins_s and earlier.judged == stretch.judged:
                begins_s = earlier.from_s
        return begins_s

    def phase_at(self, at_s: float) -> Phase | None:
        """None when the load has ended."""
        ends_s = 0.0
        for phase in self.phases:
            ends_s += phase.seconds
            if at_s < ends_s:
                return phase
        return None


def scenario(seconds: float, seed: int) -> Scenario:
    """Calm, a spike, calm again, `seconds` each. Raises ValueError for a length out of bounds."""
    if not MIN_SECONDS <= seconds <= MAX_SECONDS:
        raise ValueError(f"a phase has {MIN_SECONDS:g} to {MAX_SECONDS:g} seconds, not {seconds:g}")
    return Scenario(
        calm=Phase(name="calm", seconds=seconds, rate_rps=CALM_RPS),
        spike=Phase(name="spike", seconds=seconds, rate_rps=SPIKE * CALM_RPS),
        after=Phase(name="calm again", seconds=seconds, rate_rps=CALM_RPS),
        seed=seed,
    )


def arrivals(plan: Scenario) -> tuple[Arrival, ...]:
    """The schedule, in time order. As many requests a phase as its rate says, at independent times: what
    a Poisson stream is when its count is known."""
    draw = random.Random(plan.seed)
    found: list[Arrival] = []
    begins_s = 0.0
    for phase in plan.phases:
        count = round(phase.rate_rps * phase.seconds)
        found += [
            Arrival(
                at_s=begins_s + offset_s,
                prompt_tokens=draw.randint(*PROMPT_TOKENS),
                output_tokens=draw.randint(*OUTPUT_TOKENS),
            )
            for offset_s in sorted(draw.uniform(0.0, phase.seconds) for _ in range(count))
        ]
        begins_s += phase.seconds
    return tuple(found)
