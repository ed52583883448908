"""One request of the demo's load as its client saw it: what was sent, what came, and when. Values only.

Times are seconds since the run's start. A refusal is an answer that said "come back later"; whatever else
went wrong is a failure.
"""

import math
from collections.abc import Iterator
from typing import Literal

import msgspec

from gateway.demo.deployment import usd
from gateway.demo.scenario import Arrival

Fate = Literal["open", "answered", "refused", "failed"]


class Exchange(msgspec.Struct, kw_only=True):
    """Filled while it runs."""

    arrival: Arrival
    sent_s: float | None = None
    """When the client got round to it; its schedule says `arrival.at_s`."""
    first_s: float | None = None
    """When the first text came."""
    last_s: float | None = None
    """When the last text came so far."""
    model: str = ""
    """Who answers, as the answer says."""
    prompt_tokens: int = 0
    output_tokens: int = 0
    """Of its usage; while it runs, the pieces of text that came."""
    fate: Fate = "open"
    why: str = ""
    """Of a refusal or a failure, in a word or three."""

    @property
    def ttft_s(self) -> float | None:
        """From when it was to be sent: a late client is no excuse. None: no text has come."""
        return None if self.first_s is None else self.first_s - self.arrival.at_s

    @property
    def tpot_s(self) -> float | None:
        """None below two tokens."""
        if self.first_s is None or self.last_s is None or self.output_tokens < 2:
            return None
        return (self.last_s - self.first_s) / (self.output_tokens - 1)

    @property
    def usd(self) -> float:
        return usd(self.model, self.prompt_tokens, self.output_tokens)

    def spending(self) -> Iterator[tuple[int, float]]:
        """What it cost, by whole seconds: the prompt with the first text, the rest evenly until the last."""
        if self.first_s is None or self.last_s is None:
            return
        yield math.floor(self.first_s), usd(self.model, self.prompt_tokens, 0)
        writing = usd(self.model, 0, self.output_tokens)
        span_s = self.last_s - self.first_s
        for second in range(math.floor(self.first_s), math.floor(self.last_s) + 1):
            inside_s = min(second + 1, self.last_s) - max(second, self.first_s)
            yield second, writing * inside_s / span_s if span_s else writing
