"""The loads that several measurements put on a contender."""

from tests.bench.arena import Arena, Contender
from tests.bench.plan import Plan, Run
from tests.bench.rounds import right
from tests.bench.sizes import Sizes

WARM_UP = 0.1
"""Of a round's load, how much goes ahead of the first round."""


def requests(
    arena: Arena, contender: Contender, sizes: Sizes, *, callers: int = 1, part: float = 1.0
) -> Run:
    """Requests that are not streamed, as fast as they come back. Raises WrongAnswers, BenchError."""
    share = contender.share * part
    plan = Plan(
        url="",
        model="instant",
        requests=max(sizes.concurrency, round(sizes.requests * share)),
        concurrency=sizes.concurrency,
        tokens=sizes.tokens,
        callers=callers,
    )
    return right(arena.generate(contender, plan))


def streams(arena: Arena, contender: Contender, sizes: Sizes) -> Run:
    """Streams side by side at 50 tokens a second each. Raises WrongAnswers, BenchError."""
    count = max(1, round(sizes.streams * contender.share))
    tokens = 50 * sizes.stream_s
    plan = Plan(
        url="", model="paced-50", requests=count, concurrency=count, tokens=tokens, stream=True
    )
    return right(arena.generate(contender, plan))
