"""What rules that do not match, and callers, cost Setpoint."""

from collections.abc import Sequence

from tests.bench.arena import Arena
from tests.bench.measures import loads
from tests.bench.peers.peer import Peer
from tests.bench.peers.setpoint import setpoint
from tests.bench.result import Result, figure, result, times
from tests.bench.rounds import Figures, alternate
from tests.bench.sizes import Sizes

RULES = (0, 100)
CALLERS = (10, 10_000)


def measure_rules(arena: Arena, sizes: Sizes, _: Sequence[Peer]) -> Result:
    """Raises BenchError."""
    variants = {f"{count} rules": (setpoint(f"{count} rules", rules=count), 1) for count in RULES}
    said = "Setpoint with so many rules of which none matches; the load is that of a request."
    return _measure("Rules that do not match", said, arena, sizes, variants)


def measure_callers(arena: Arena, sizes: Sizes, _: Sequence[Peer]) -> Result:
    """Raises BenchError."""
    variants = {
        f"{count} callers": (setpoint(f"{count} callers", callers=count), count)
        for count in CALLERS
    }
    said = (
        "Setpoint with so many callers, each with a token and budgets of its own, who take turns; the load is that of a "
        "request."
    )
    return _measure("Callers", said, arena, sizes, variants)


def _measure(
    title: str, said: str, arena: Arena, sizes: Sizes, variants: dict[str, tuple[Peer, int]]
) -> Result:
    with arena.all_serving([peer for peer, _ in variants.values()]) as serving:
        contenders = {each.name: each for each in serving}
        warm: set[str] = set()

        def once(name: str) -> Figures:
            contender = contenders[name]
            callers = variants[name][1]
            if name not in warm:
                loads.requests(arena, contender, sizes, callers=callers, part=loads.WARM_UP)
                warm.add(name)
            run = loads.requests(arena, contender, sizes, callers=callers)
            return {"cpu_s": run.cpu_s / run.done, "start_s": contender.first_answer_s}

        outcomes = alternate(list(contenders), sizes.rounds, once)
    base = next(iter(variants))
    columns = [
        figure("CPU us a request", "cpu_s", scale=1e6),
        *times("cpu_s", base, outcomes),
        figure("start to first answer, s", "start_s", digits=2),
    ]
    return result(title, said, outcomes, columns)
