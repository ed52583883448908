"""How quickly the limit of an engine that nobody has described opens: slow start, as TCP has it.

A tick is a long time: a limit that doubles once a second keeps two thousand callers waiting for five seconds in
front of an engine that is idle. What says that an engine takes more is not time, but an answer that has begun:
each lets one more in. So while a limit is `starting`, and only where somebody finds no place under it,

    limit = answering + min(answering, unanswered)

where `answering` have had their first token and `unanswered` is what a model begins with. Nothing is let in on
hope but those last few, so an engine that works on N at once is given N + min(N, unanswered) at most, however
many ask: whoever is above N waits inside it, has no first token, and lets nobody in. One with fewer places than
a model begins with is given not one more than it was without this.

An engine that takes everybody and gets slower is no different at the door. There the objective of TPOT bounds it:
TPOT grows by less than concurrency does (see `policies.limit`), so whatever pace was kept by `n` at once,
`n * theta * objective / pace` at once keep the objective. Until a pace is known a first token stands for it: it
took at least one whole step of the batch that it joined. Neither known, or a queue inside the engine: not open.
Must stay true: it only ever raises a limit, and a looser objective never gives a smaller one. Shrinking, and
all growth after the first sign that there is too much, is the law's of `policies.limit`.
"""

import math

from policies.limit import LimitReading


def opened(answering: int, unanswered: float) -> float:
    """What is let in where so many are being answered: as many again, but only a few on hope."""
    return answering + min(float(answering), unanswered)


def room(seen: LimitReading) -> float | None:
    """How many at once keep the objective for sure; None: nothing is known that would say so."""
    if seen.upstream_late:
        return 0.0
    if seen.tpot_objective_s is None:
        return math.inf
    pace_s, at_once = seen.tpot_s, seen.least_inflight
    if pace_s is None:
        pace_s, at_once = seen.first_token_s, seen.answering
    if pace_s is None or not 0.0 < pace_s < math.inf or at_once == 0:
        return None
    return at_once * seen.theta * seen.tpot_objective_s / pace_s
