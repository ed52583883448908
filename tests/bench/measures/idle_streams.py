"""Memory of a stream that is open and says nothing."""

import time
from collections.abc import Sequence

from tests.bench.accounting import tree_rss_kib
from tests.bench.arena import Arena, Contender
from tests.bench.peers.peer import Peer
from tests.bench.plan import Plan
from tests.bench.result import Result, figure, result
from tests.bench.rounds import Figures, alternate, right
from tests.bench.sizes import Sizes

TOKENS = 80
STREAM_S = TOKENS / 10
"""A concurrency limit grows while answers come: until all streams are open, those that are there speak."""
RAMP_S = 5.0
SETTLE_S = 1.0
WARM_UP = 10
"""So many streams come and go first, so that what is allocated once is not counted."""


def measure(arena: Arena, sizes: Sizes, peers: Sequence[Peer]) -> Result:
    """Each round has processes of its own: memory that was freed once would hide what is taken next.
    Raises BenchError."""
    with arena.all_serving(peers) as serving:
        names = [each.name for each in serving]
    by_name = {peer.name: peer for peer in peers}

    def once(name: str) -> Figures:
        with arena.serving(by_name[name]) as contender:
            count = max(1, round(sizes.idle_streams * max(contender.share, 0.1)))
            _held_kib(arena, contender, WARM_UP)
            before_kib = tree_rss_kib(contender.pid)
            held_kib = _held_kib(arena, contender, count)
            return {"streams": count, "kib": (held_kib - before_kib) / count}

    outcomes = alternate(names, sizes.idle_rounds, once)
    columns = [figure("streams", "streams", digits=0), figure("KiB a stream", "kib")]
    said = (
        f"{sizes.idle_rounds} rounds of {sizes.idle_streams} streams that have had {TOKENS} tokens and no end: resident "
        "memory with them less that before them, a process of its own each round."
    )
    return result("Memory of an idle open stream", said, outcomes, columns)


def _held_kib(arena: Arena, contender: Contender, count: int) -> int:
    plan = Plan(
        url="",
        model="paced-10",
        requests=count,
        concurrency=count,
        tokens=TOKENS,
        stream=True,
        ramp_s=RAMP_S * min(1.0, count / 100),
        hold=True,
    )
    with arena.holding(contender, plan) as run:
        right(run)
        time.sleep(STREAM_S + SETTLE_S)
        return tree_rss_kib(contender.pid)
