"""The saturation at which each priority band stops: llm-d's usage-limit policies. Pure.

    static             every band at the same ceiling
    priority-holdback  c_i = max - i * (max - min) / (N - 1)         i-th of N bands, highest first
    soft-reflective    1 - i * saturation / (N - 1); at or above it the band is open only every
                       round(saturation / (1 - saturation))-th cycle; at saturation 1 it is shut

Source: llm-d-router `pkg/epp/framework/plugins/flowcontrol/usagelimits/**`.
"""

from collections.abc import Sequence

from adapters.fakellmd.epp_settings import UsageLimit


class UsageLimits:
    """Has state for one policy only: `soft-reflective` counts the cycles of each band."""

    def __init__(self, settings: UsageLimit) -> None:
        self._settings = settings
        self._cycles: dict[int, int] = {}
        self.pulsing = False
        """Whether a band that is shut now may be open in the next cycle, though nothing changes."""

    def ceilings(self, saturation: float, priorities: Sequence[int]) -> list[float]:
        """One ceiling a band, for one dispatch cycle. `priorities`: highest first."""
        settings, last = self._settings, len(priorities) - 1
        self.pulsing = False
        if settings.policy == "static":
            return [settings.ceiling] * len(priorities)
        if settings.policy == "priority-holdback":
            step = (settings.max_ceiling - settings.min_ceiling) / max(last, 1)
            return [settings.max_ceiling - i * step for i in range(len(priorities))]
        return [
            1.0 if i == 0 else self._reflective(saturation, priority, i / last)
            for i, priority in enumerate(priorities)
        ]

    def _reflective(self, saturation: float, priority: int, depth: float) -> float:
        if saturation < 1.0 - depth * saturation:
            return 1.0
        if saturation >= 1.0:
            return 0.0
        self.pulsing = True
        cycle = self._cycles[priority] = self._cycles.get(priority, 0) + 1
        # Go's Round takes halves away from zero, Python's takes them to the even neighbour.
        period = max(int(saturation / (1.0 - saturation + 1e-9) + 0.5), 1)
        return 1.0 if cycle % period == 0 else 0.0
