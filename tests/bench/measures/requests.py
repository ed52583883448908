"""CPU time of a request that is not streamed."""

from collections.abc import Sequence

from tests.bench.accounting import tree_rss_kib
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
    with arena.all_serving(peers) as serving:
        contenders = {each.name: each for each in serving}
        warm: set[str] = set()

        def once(name: str) -> Figures:
            contender = contenders[name]
            if name not in warm:
                loads.requests(arena, contender, sizes, part=loads.WARM_UP)
                warm.add(name)
            run = loads.requests(arena, contender, sizes)
            return {
                "cpu_s": run.cpu_s / run.done,
                "per_s": run.done / run.elapsed_s,
                "rss_kib": tree_rss_kib(contender.pid),
            }

        outcomes = alternate(list(contenders), sizes.rounds, once)
    columns = [
        figure("CPU us a request", "cpu_s", scale=1e6),
        *(
            column
            for base in (AIOHTTP, VLLM_ROUTER, NGINX)
            for column in times("cpu_s", base.name, outcomes)
        ),
        figure("requests/s on its core", "per_s", digits=0),
        figure("RSS MiB", "rss_kib", scale=1 / 1024, digits=0),
    ]
    said = (
        f"{sizes.rounds} rounds of {sizes.requests} requests that are not streamed, {sizes.concurrency} at "
        f"once, {sizes.tokens} tokens each."
    )
    return result("A request", said, outcomes, columns)
