"""CPU time of a token that is streamed."""

from collections.abc import Sequence

import msgspec

from tests.bench.accounting import tree_cpu_s, tree_rss_kib
from tests.bench.arena import Arena
from tests.bench.measures import loads
from tests.bench.peers.aiohttp_minimal import AIOHTTP
from tests.bench.peers.nginx import NGINX
from tests.bench.peers.peer import Peer
from tests.bench.peers.vllm_router import VLLM_ROUTER
from tests.bench.result import Result, figure, result, times
from tests.bench.rounds import Figures, alternate
from tests.bench.sizes import Sizes


def measure(arena: Arena, sizes: Sizes, peers: Sequence[Peer]) -> Result:
    """Raises BenchError."""
    tokens = 50 * sizes.stream_s
    with arena.all_serving(peers) as serving:
        contenders = {each.name: each for each in serving}
        warm: set[str] = set()

        def once(name: str) -> Figures:
            contender = contenders[name]
            if name not in warm:
                # As many streams as later, and not as long: a concurrency limit has to grow first.
                loads.streams(arena, contender, msgspec.structs.replace(sizes, stream_s=1))
                warm.add(name)
            upstream_s = tree_cpu_s(arena.upstream.pid)
            run = loads.streams(arena, contender, sizes)
            upstream_s = tree_cpu_s(arena.upstream.pid) - upstream_s
            return {
                "cpu_s": run.cpu_s / (run.done * tokens),
                "core": run.cpu_s / run.elapsed_s,
                "others": (run.own_cpu_s + upstream_s) / run.elapsed_s,
                "rss_kib": tree_rss_kib(contender.pid),
            }

        outcomes = alternate(list(contenders), sizes.rounds, once)
    columns = [
        figure("CPU us a token", "cpu_s", scale=1e6),
        *(
            column
            for base in (AIOHTTP, VLLM_ROUTER, NGINX)
            for column in times("cpu_s", base.name, outcomes)
        ),
        figure("% of its core", "core", scale=100, digits=0),
        figure("% of the other core: upstream and generator", "others", scale=100, digits=0),
        figure("RSS MiB", "rss_kib", scale=1 / 1024, digits=0),
    ]
    said = (
        f"{sizes.rounds} rounds of {sizes.streams} streams of {tokens} tokens at 50 tokens/s each. The cost "
        "of opening them is in the number."
    )
    return result("A streamed token", said, outcomes, columns)
