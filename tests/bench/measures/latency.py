"""What a proxy adds to a request that has it for itself: to the whole answer, and to the first token."""

from collections.abc import Sequence

import msgspec

from tests.bench.arena import DIRECT, Arena
from tests.bench.peers.nginx import NGINX
from tests.bench.peers.peer import Peer
from tests.bench.plan import Plan
from tests.bench.result import Column, Result, added, figure, result
from tests.bench.rounds import Figures, Outcome, alternate, right
from tests.bench.samples import quantile
from tests.bench.sizes import Sizes


def measure(arena: Arena, sizes: Sizes, peers: Sequence[Peer]) -> Result:
    """The whole answer. Raises BenchError."""
    said = (
        f"{sizes.rounds} rounds of {sizes.single} requests that are not streamed, one after the other on "
        "one connection."
    )
    return _measure("Added latency", said, arena, sizes, peers, stream=False)


def measure_first_token(arena: Arena, sizes: Sizes, peers: Sequence[Peer]) -> Result:
    """The first token of a stream. Raises BenchError."""
    said = (
        f"{sizes.rounds} rounds of {sizes.single} streams, one after the other on one connection; from the "
        "request to its first token."
    )
    return _measure("Added time to the first token", said, arena, sizes, peers, stream=True)


def _measure(
    title: str, said: str, arena: Arena, sizes: Sizes, peers: Sequence[Peer], *, stream: bool
) -> Result:
    with arena.all_serving(peers) as serving:
        contenders = {each.name: each for each in [arena.upstream, *serving]}
        warm: set[str] = set()

        def once(name: str) -> Figures:
            contender = contenders[name]
            plan = Plan(
                url="",
                model="instant",
                requests=max(1, round(sizes.single * contender.share)),
                concurrency=1,
                tokens=sizes.tokens,
                stream=stream,
            )
            if name not in warm:
                right(arena.generate(contender, msgspec.structs.replace(plan, requests=100)))
                warm.add(name)
            run = right(arena.generate(contender, plan))
            seconds = run.first_s if stream else run.whole_s
            return {"p50_s": quantile(seconds, 0.5), "p99_s": quantile(seconds, 0.99)}

        outcomes = alternate(list(contenders), sizes.rounds, once)
    return result(title, said, outcomes, [*_columns("p50", outcomes), *_columns("p99", outcomes)])


def _columns(name: str, outcomes: dict[str, Outcome]) -> list[Column]:
    key = f"{name}_s"
    return [
        figure(f"{name} ms", key, scale=1e3, digits=3),
        *added("added", key, DIRECT, outcomes, 1e3),
        *added("more than nginx", key, NGINX.name, outcomes, 1e3),
    ]
