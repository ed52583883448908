"""Virtual token counters: who of several callers goes next, so that each gets its share of tokens.

A caller's counter grows by what it was served, divided by its weight; the smallest one goes first.
A caller that was away comes back at the level of those who stayed, so that absence saves nothing up.
What must stay true: of two callers that both always have work waiting, neither counter is ahead of the
other by more than what its requests in flight are charged (`PROMPT_WEIGHT` for each prompt token and
`OUTPUT_WEIGHT` for each generated one, by its weight), since it was the smallest when it was chosen last.
So over any time their weighted service differs by at most the sum of both, which is within VTC's bound of
`2 * max(PROMPT_WEIGHT * longest prompt, OUTPUT_WEIGHT * all tokens in flight)`.
Source: VTC (Sheng et al., OSDI 2024).
"""

PROMPT_WEIGHT, OUTPUT_WEIGHT = 1.0, 2.0
"""A generated token costs an engine about twice what a prompt token does (VTC's artifact)."""
MAX_CALLERS = 4096
"""Counters that are remembered, beside those of who waits. Whoever is forgotten comes back at the
common level."""


class TokenCounters:
    """The counters of one pool's callers. Amounts are tokens; `weight` is above 0."""

    def __init__(self) -> None:
        self._counters: dict[str, float] = {}
        self._level = 0.0
        """The counter of the caller that was chosen last, before it was charged: where others come in."""
        self._waiting: dict[str, int] = {}
        """In how many lines a caller waits."""

    def of(self, caller: str) -> float:
        return self._counters.get(caller, self._level)

    def arrive(self, caller: str, lowest: float | None = None) -> None:
        """The caller has work for one more line, until it `leave`s it. Had it none at all, it comes back
        no lower than those who are served now. `lowest` is the smallest counter in that line, None if
        nobody waits there: in a line that moves slower than others nobody is put behind it."""
        lines = self._waiting.get(caller, 0)
        self._waiting[caller] = lines + 1
        floor = self._level if lowest is None else min(self._level, lowest)
        counter = self._counters.get(caller)
        if counter is None:
            self._set(caller, floor)
        elif counter < floor and not lines:
            self._counters[caller] = floor

    def pass_by(self, caller: str, tokens: float, weight: float = 1.0) -> None:
        """It is served `tokens` without having waited, and yet it was its turn: as to `arrive`, be `chosen`,
        `leave` and be charged."""
        counter = self._counters.get(caller)
        if counter is None:
            self._set(caller, self._level + tokens / weight)
            return
        if counter > self._level:
            self._level = counter
        elif caller not in self._waiting:
            counter = self._level
        self._counters[caller] = counter + tokens / weight

    def leave(self, caller: str) -> None:
        """It has no more work in that line."""
        lines = self._waiting[caller] - 1
        if lines:
            self._waiting[caller] = lines
        else:
            del self._waiting[caller]

    def chosen(self, caller: str) -> None:
        """Among all who wait, this one goes next."""
        self._level = max(self._level, self.of(caller))

    def charge(self, caller: str, tokens: float, weight: float = 1.0) -> None:
        """It was served `tokens`, already weighted by their kind."""
        counter = self._counters.get(caller)
        if counter is None:
            self._set(caller, self._level + tokens / weight)
        else:
            self._counters[caller] = counter + tokens / weight

    def _set(self, caller: str, counter: float) -> None:
        if caller not in self._counters and len(self._counters) >= MAX_CALLERS:
            self._forget()
        self._counters[caller] = counter

    def _forget(self) -> None:
        """Those at or below the level lose nothing by being forgotten; then the lightest go, a quarter
        at once, so that it is seldom. Nobody is forgotten while it waits: it would lose its turn."""
        waiting = {c: value for c, value in self._counters.items() if c in self._waiting}
        others = [
            (value, c)
            for c, value in self._counters.items()
            if value > self._level and c not in waiting
        ]
        room = max(MAX_CALLERS * 3 // 4 - len(waiting), 0)
        kept = sorted(others)[max(len(others) - room, 0) :]
        self._counters = waiting | {c: value for value, c in kept}
