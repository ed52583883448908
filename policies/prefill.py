"""How long the first token will take once a request is dispatched: measured, not modelled.

Upstream TTFT is taken as `c0 + c1 * prompt tokens`, fitted by relative error with forgetting, times a
high quantile of how wrong that was lately (a conformal margin). Few samples: no prediction, and
whoever asks must let the request pass.
"""

from collections import deque

MIN_SAMPLES = 30
KEEP = 0.985
"""What one new sample leaves of the old ones' weight: the last 70 or so count."""
RATIOS = 128
FADE = 1.0005
"""By which the quickest line grows with each sample: doubled after some 1400."""
REFRESH = 8
"""Samples after which the margin is computed anew."""
MARGIN_QUANTILE = 0.95
"""Under lasting overload every request is served just before its deadline, so what this leaves out
is the share of served requests that come late."""
_TYPICAL_TOKENS = 200.0
"""Relative error needs a floor: a prompt of ten tokens is no ten times lighter than this."""


class PrefillModel:
    """One (pool, model)'s. Times in seconds."""

    def __init__(self) -> None:
        self.samples = 0
        self._w = self._wx = self._wy = self._wxx = self._wxy = 0.0
        self._c0 = self._c1 = 0.0
        self._ratios: deque[float] = deque(maxlen=RATIOS)
        self._margin = 1.0
        self._fresh: list[float] = []
        """The ratios that the margin is to be found from, when somebody asks: where nobody waits nobody does,
        and to put them in order is dearer than all the rest."""
        self._best: tuple[float, float] | None = None
        """The quickest line so far; it fades, so that an engine may become slower for good."""

    @property
    def slowdown(self) -> float:
        """How many times longer a typical prompt takes now than at its best. A full batch explains a
        factor of two or three; more than that is a queue inside the engine."""
        if self._best is None or not self._w:
            return 1.0
        typical = self._wx / self._w
        best_s = self._best[0] + self._best[1] * typical
        return (self._c0 + self._c1 * typical) / best_s if best_s > 0.0 else 1.0

    def learn(self, prompt_tokens: int, ttft_s: float) -> None:
        """A request of that prompt had its first token `ttft_s` after dispatch."""
        x, y = float(prompt_tokens), ttft_s
        if self.samples:
            expected_s = self._c0 + self._c1 * x
            if expected_s > 0.0:
                self._ratios.append(y / expected_s)
        weight = 1.0 / (x + _TYPICAL_TOKENS) ** 2
        self._w = self._w * KEEP + weight
        self._wx = self._wx * KEEP + weight * x
        self._wy = self._wy * KEEP + weight * y
        self._wxx = self._wxx * KEEP + weight * x * x
        self._wxy = self._wxy * KEEP + weight * x * y
        self.samples += 1
        self._fit()
        if self.samples % REFRESH == 0:
            self._fresh = list(self._ratios)
        if self.samples >= MIN_SAMPLES:
            if self._best is None or self.slowdown < 1.0:
                self._best = (self._c0, self._c1)
            else:
                self._best = (self._best[0] * FADE, self._best[1] * FADE)

    def predict(self, prompt_tokens: int) -> float | None:
        """Seconds from dispatch to first token, with margin; None: not enough is known."""
        if self.samples < MIN_SAMPLES:
            return None
        if self._fresh:
            ordered, self._fresh = sorted(self._fresh), []
            self._margin = ordered[min(int(MARGIN_QUANTILE * len(ordered)), len(ordered) - 1)]
        return (self._c0 + self._c1 * prompt_tokens) * self._margin

    def _fit(self) -> None:
        spread = self._w * self._wxx - self._wx * self._wx
        mean_s = self._wy / self._w
        # All prompts alike say nothing about the slope; then their mean is the best guess.
        if spread <= 1e-9 * self._w * self._wxx:
            self._c0, self._c1 = mean_s, 0.0
            return
        slope = max((self._w * self._wxy - self._wx * self._wy) / spread, 0.0)
        constant = (self._wy - slope * self._wx) / self._w
        if constant < 0.0:  # a line through the origin, by the same weights
            self._c0, self._c1 = 0.0, self._wxy / self._wxx
        else:
            self._c0, self._c1 = constant, slope
