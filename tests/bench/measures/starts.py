"""How long a proxy takes from its start to its first right answer."""

from collections.abc import Sequence

from tests.bench.arena import Arena
from tests.bench.peers.peer import Peer
from tests.bench.result import Result, figure, result
from tests.bench.rounds import Figures, alternate
from tests.bench.sizes import Sizes


def measure(arena: Arena, sizes: Sizes, peers: Sequence[Peer]) -> Result:
    """Raises BenchError."""
    with arena.all_serving(peers) as serving:
        names = [each.name for each in serving]
    by_name = {peer.name: peer for peer in peers}

    def once(name: str) -> Figures:
        with arena.serving(by_name[name]) as contender:
            return {"first_answer_s": contender.first_answer_s}

    outcomes = alternate(names, sizes.rounds, once)
    said = (
        f"{sizes.rounds} starts of each, on one core, asked every 2 ms until the answer is right."
    )
    return result("Start", said, outcomes, [figure("seconds", "first_answer_s", digits=2)])
