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
TOGETHER = 8
"""So many first tokens at most are reckoned with together, in 12 us."""
_TYPICAL_TOKENS = 200.0
"""Relative error needs a floor: a prompt of ten tokens is no ten times lighter than this."""


class PrefillModel:
    """One (pool, model)'s. Times in seconds."""

    def __init__(self) -> None:
        self._heard: list[tuple[int, float]] = []
        """Prompts and times that are still to be reckoned with: when somebody asks, or there are enough."""
        self._samples = 0
        self._sums = (0.0, 0.0, 0.0, 0.0, 0.0)
        """Of w, wx, wy, wxx, wxy: the weight of a sample, its prompt and its time."""
        self._line = (0.0, 0.0)
        self._best: tuple[float, float] | None = None
        """The quickest line so far; it fades, so that an engine may become slower for good."""
        self._ratios: deque[float] = deque(maxlen=RATIOS)
        self._margin = 1.0
        self._fresh: list[float] = []
        """The ratios that the margin is to be found from, when somebody asks: where nobody waits nobody does,
        and to put them in order is dear."""

    @property
    def samples(self) -> int:
        return self._samples + len(self._heard)

    @property
    def slowdown(self) -> float:
        """How many times longer a typical prompt takes now than at its best. A full batch explains a
        factor of two or three; more than that is a queue inside the engine."""
        self._reckon()
        if self._best is None:
            return 1.0
        w, wx, *_ = self._sums
        return _slowdown(self._line, self._best, wx / w)

    def learn(self, prompt_tokens: int, ttft_s: float) -> None:
        """A request of that prompt had its first token `ttft_s` after dispatch."""
        self._heard.append((prompt_tokens, ttft_s))
        if len(self._heard) >= TOGETHER:
            self._reckon()

    def predict(self, prompt_tokens: int) -> float | None:
        """Seconds from dispatch to first token, with margin; None: not enough is known."""
        self._reckon()
        if self._samples < MIN_SAMPLES:
            return None
        if self._fresh:
            ordered, self._fresh = sorted(self._fresh), []
            self._margin = ordered[min(int(MARGIN_QUANTILE * len(ordered)), len(ordered) - 1)]
        constant, slope = self._line
        return (constant + slope * prompt_tokens) * self._margin

    def _reckon(self) -> None:
        """Each sample in its turn: what it was expected to be is of the line before it."""
        if not self._heard:
            return
        heard, self._heard = self._heard, []
        (w, wx, wy, wxx, wxy), line, best = self._sums, self._line, self._best
        for x, y in heard:
            expected_s = line[0] + line[1] * x
            if expected_s > 0.0:
                self._ratios.append(y / expected_s)
            weight = 1.0 / (x + _TYPICAL_TOKENS) ** 2
            w = w * KEEP + weight
            wx = wx * KEEP + weight * x
            wy = wy * KEEP + weight * y
            wxx = wxx * KEEP + weight * x * x
            wxy = wxy * KEEP + weight * x * y
            line = _fit(w, wx, wy, wxx, wxy)
            self._samples += 1
            if self._samples % REFRESH == 0:
                self._fresh = list(self._ratios)
            if self._samples >= MIN_SAMPLES:
                if best is None or _slowdown(line, best, wx / w) < 1.0:
                    best = line
                else:
                    best = (best[0] * FADE, best[1] * FADE)
        self._sums, self._line, self._best = (w, wx, wy, wxx, wxy), line, best


def _fit(w: float, wx: float, wy: float, wxx: float, wxy: float) -> tuple[float, float]:
    """Constant and slope."""
    spread = w * wxx - wx * wx
    # All prompts alike say nothing about the slope; then their mean is the best guess.
    if spread <= 1e-9 * w * wxx:
        return wy / w, 0.0
    slope = max((w * wxy - wx * wy) / spread, 0.0)
    constant = (wy - slope * wx) / w
    if constant < 0.0:  # a line through the origin, by the same weights
        return 0.0, wxy / wxx
    return constant, slope


def _slowdown(now: tuple[float, float], best: tuple[float, float], typical: float) -> float:
    best_s = best[0] + best[1] * typical
    return (now[0] + now[1] * typical) / best_s if best_s > 0.0 else 1.0
