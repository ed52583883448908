"""What each program (fairness id) was served, as llm-d's `program-aware-fairness` counts it. Pure.

Service is 1 * prompt tokens + 2 * answer tokens, credited when a request is complete. It halves
every 60 s of idleness; a program with something waiting or running keeps all of it. After 300 s of
idleness llm-d forgets the flow, and so does this. At most MAX_PROGRAMS idle ones are remembered.
Source: llm-d-router `fairness/program-aware/{strategy_las,programmetrics,plugin}.go`.
"""

PROMPT_WEIGHT, OUTPUT_WEIGHT = 1.0, 2.0
HALF_LIFE_S = 60.0
FORGET_S = 300.0
RATE_ALPHA = 0.5
MAX_PROGRAMS = 4096


class _Program:
    __slots__ = ("busy", "completed_s", "idle_since_s", "rate", "service")

    def __init__(self, now_s: float) -> None:
        self.busy = 0
        self.idle_since_s = now_s
        self.service = 0.0
        self.rate = 0.0
        """Weighted tokens a second, smoothed from one completion to the next."""
        self.completed_s: float | None = None


class ServiceLedger:
    """Times never go back. `enter` and `leave` come in pairs, one for each request."""

    def __init__(self) -> None:
        self._programs: dict[str, _Program] = {}

    def enter(self, program: str, now_s: float) -> None:
        """A request of `program` arrives."""
        known = self._programs.get(program)
        if known is None:
            self._make_room(now_s)
            known = self._programs[program] = _Program(now_s)
        if known.busy == 0:
            idle_s = now_s - known.idle_since_s
            if idle_s >= FORGET_S:
                known = self._programs[program] = _Program(now_s)
            known.service *= 0.5 ** (idle_s / HALF_LIFE_S)
        known.busy += 1

    def leave(self, program: str, now_s: float) -> None:
        """A request that entered is over, however it ended."""
        known = self._programs[program]
        known.busy -= 1
        known.idle_since_s = now_s

    def credit(self, program: str, prompt_tokens: int, output_tokens: int, now_s: float) -> None:
        """A request that entered is complete; it leaves by a call of its own."""
        cost = PROMPT_WEIGHT * prompt_tokens + OUTPUT_WEIGHT * output_tokens
        known = self._programs[program]
        known.service += cost
        if known.completed_s is not None and now_s > known.completed_s:
            rate = cost / (now_s - known.completed_s)
            known.rate = RATE_ALPHA * rate + (1 - RATE_ALPHA) * known.rate if known.rate else rate
        known.completed_s = now_s

    def service(self, program: str) -> float:
        """Of a program that is busy: its attained service. 0 for one that never came."""
        known = self._programs.get(program)
        return 0.0 if known is None else known.service

    def jain_index(self) -> float:
        """Jain's fairness index over the programs' rates: 1 is equal, 1/n is one that gets all."""
        rates = [known.rate for known in self._programs.values() if known.rate]
        squares = sum(rate * rate for rate in rates)
        return sum(rates) ** 2 / (len(rates) * squares) if len(rates) > 1 else 1.0

    def __len__(self) -> int:
        return len(self._programs)

    def _make_room(self, now_s: float) -> None:
        """Forget who has been idle for long, and if need be who has been idle longest."""
        if len(self._programs) < MAX_PROGRAMS:
            return
        idle = [
            (known.idle_since_s, name) for name, known in self._programs.items() if not known.busy
        ]
        old = [name for since_s, name in idle if now_s - since_s >= FORGET_S]
        for name in old or [name for _, name in sorted(idle)[: MAX_PROGRAMS // 8]]:
            del self._programs[name]
