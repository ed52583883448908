"""What goes wrong with an engine during a run: `--drift at=180s,itl=1.5x`. Pure.

A factor is of what the engine was like at the start, so `itl=1x` ends an earlier drift. Must stay true:
a text that is not understood is a ValueError that says what is wrong with it.
"""

import math
from collections.abc import Mapping, Sequence

import msgspec

from adapters.fakellmd.settings import Drift, LlmdSettings
from contracts.catalog import Catalog
from contracts.problems import did_you_mean
from contracts.quantities import Duration
from gateway.simulated_engine import LONGEST_S, SHORTEST_GAP_S
from gateway.simulation.engines import Lane

SPELLING = "at=180s,itl=1.5x[,factor=3][,model=NAME]"
MAX_FACTOR = 1000.0
_PARTS = ("at", "itl", "factor", "model")


class DriftAsked(msgspec.Struct, frozen=True, kw_only=True):
    """From `at_s` on. `model` as clients name it; None: every model."""

    at_s: float
    itl_s: float | None = None
    """The gap between two tokens of an engine that does nothing else, ..."""
    itl_times: float | None = None
    """... or how many times the one of the start it is."""
    factor: float | None = None
    """How many times slower a full batch is than a batch of one."""
    model: str | None = None

    @property
    def words(self) -> str:
        """For people: `itl 1.5x`."""
        parts = []
        if self.itl_times is not None:
            parts.append(f"itl {self.itl_times:g}x")
        if self.itl_s is not None:
            parts.append(f"itl {self.itl_s * 1000:g} ms")
        if self.factor is not None:
            parts.append(f"factor {self.factor:g}")
        return ", ".join(parts) + (f" of {self.model}" if self.model else "")


def parse_drift(text: str) -> DriftAsked:
    """Read `at=180s,itl=1.5x`. Raises ValueError."""
    given: dict[str, str] = {}
    for part in text.split(","):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if name not in _PARTS or not equals or not value:
            raise ValueError(f"{part.strip()!r} is not understood: expected {SPELLING}")
        if name in given:
            raise ValueError(f"{name} is given twice")
        given[name] = value
    if "at" not in given:
        raise ValueError(f"at is missing: expected {SPELLING}")
    if not given.keys() & {"itl", "factor"}:
        raise ValueError(f"neither itl nor factor is given: expected {SPELLING}")
    itl_s, itl_times = _itl(given.get("itl"))
    return DriftAsked(
        at_s=_at_s(given["at"]),
        itl_s=itl_s,
        itl_times=itl_times,
        factor=None if "factor" not in given else _factor(given["factor"]),
        model=given.get("model"),
    )


def drifted(
    settings: Mapping[Lane, LlmdSettings], asked: Sequence[DriftAsked], catalog: Catalog
) -> dict[Lane, LlmdSettings]:
    """The engines with their drifts. Raises ValueError for a model that is not simulated."""
    lanes = {
        name: (card.pool, card.upstream)
        for name, card in catalog.models.items()
        if (card.pool, card.upstream) in settings
    }
    drifts: dict[Lane, list[Drift]] = {lane: [] for lane in settings}
    for one in asked:
        if one.model is not None and one.model not in lanes:
            hint = did_you_mean(one.model, lanes)
            raise ValueError(f"no model {one.model!r} is simulated ({hint})")
        for lane in settings if one.model is None else (lanes[one.model],):
            drifts[lane].append(_drift(one, settings[lane], lane[1]))
    return {
        lane: msgspec.structs.replace(told, drift=tuple(drifts[lane]))
        for lane, told in settings.items()
    }


def _drift(asked: DriftAsked, settings: LlmdSettings, upstream: str) -> Drift:
    gap_s = asked.itl_s
    if asked.itl_times is not None:
        gap_s = asked.itl_times * settings.latency_of(upstream).inter_token_latency_s
    return Drift(at_s=asked.at_s, inter_token_latency_s=gap_s, time_factor_under_load=asked.factor)


def _at_s(text: str) -> float:
    try:
        at_s = float(Duration.parse(text))
    except ValueError as exc:
        raise ValueError(f"at: {exc}") from exc
    if at_s > LONGEST_S:
        raise ValueError(f"at: {text!r} is more than 1d")
    return at_s


def _itl(text: str | None) -> tuple[float | None, float | None]:
    """Seconds, or a factor."""
    if text is None:
        return None, None
    if text.endswith("x"):
        times = _number(text[:-1])
        if times is None or not 0.0 < times <= MAX_FACTOR:
            raise ValueError(f"itl: expected a factor such as 1.5x, got {text!r}")
        return None, times
    try:
        gap_s = float(Duration.parse(text))
    except ValueError as exc:
        raise ValueError(f"itl: expected 1.5x or a duration such as 18ms, got {text!r}") from exc
    if not SHORTEST_GAP_S <= gap_s <= LONGEST_S:
        raise ValueError(f"itl: expected 1us to 1d, got {text!r}")
    return gap_s, None


def _factor(text: str) -> float:
    factor = _number(text)
    if factor is None or not 1.0 <= factor <= MAX_FACTOR:
        raise ValueError(f"factor: expected a number from 1 to {MAX_FACTOR:g}, got {text!r}")
    return factor


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
