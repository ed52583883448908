"""Many streams at once on one core: does any of them stall?"""

from collections.abc import Sequence

from tests.bench.arena import Arena
from tests.bench.peers.peer import Peer
from tests.bench.plan import Plan
from tests.bench.result import Result, figure, result
from tests.bench.rounds import Figures, alternate, right
from tests.bench.samples import quantile
from tests.bench.sizes import Sizes

RAMP_S = 5.0
"""The streams begin spread out over this time: a storm of connections is another question."""


def measure(arena: Arena, sizes: Sizes, peers: Sequence[Peer]) -> Result:
    """Raises BenchError."""
    tokens = 10 * sizes.many_s
    with arena.all_serving(peers) as serving:
        contenders = {each.name: each for each in [arena.upstream, *serving]}

        def once(name: str) -> Figures:
            contender = contenders[name]
            count = max(1, round(sizes.many_streams * contender.share))
            plan = Plan(
                url="",
                model="paced-10",
                requests=count,
                concurrency=count,
                tokens=tokens,
                stream=True,
                ramp_s=RAMP_S,
            )
            arena.upstream_gap_s()
            run = right(arena.generate(contender, plan))
            return {
                "streams": run.most_at_once,
                "first_s": quantile(run.first_s, 0.99),
                "gap_s": run.largest_gap_s,
                "upstream_gap_s": arena.upstream_gap_s(),
                "cpu_s": run.cpu_s / (run.done * tokens),
                "core": run.cpu_s / run.elapsed_s,
            }

        outcomes = alternate(list(contenders), 1, once)
    columns = [
        figure("most at once", "streams", digits=0),
        figure("p99 ms to the first token", "first_s", scale=1e3, digits=0),
        figure("largest gap, ms", "gap_s", scale=1e3, digits=0),
        figure("the upstream's own, ms", "upstream_gap_s", scale=1e3, digits=0),
        figure("CPU us a token", "cpu_s", scale=1e6),
        figure("% of its core", "core", scale=100, digits=0),
    ]
    said = (
        f"{sizes.many_streams} streams of {tokens} tokens at 10 tokens/s each, begun within {RAMP_S:g} s. A gap is "
        "the time that a stream was without a new byte; 100 ms is what the engine's pace makes."
    )
    return result("Many streams on one core", said, outcomes, columns)
