"""One request under way, as the loop sees it: plain numbers that the shell counts up.

The hot path touches `tokens` only; everything else is written at most once an event. No logic beyond
reading itself may live here.
"""

from math import inf

import msgspec

SPAN_TOKENS = 16
"""A stream's pace is the mean gap of at least so many tokens: single gaps are heavy-tailed, since other
requests' prompts are read in between (control.md C2)."""


class Flight(msgspec.Struct, eq=False, gc=False):
    """Times are on the loop's clock; objectives are this request's own, a client may have tightened
    them. `lane` is (pool, model as the pool knows it)."""

    # What it begins with, up to `patient`.
    request: int
    intent: str
    model: str
    lane: tuple[str, str]
    caller: str
    priority: int
    prompt_tokens: int
    arrived_s: float
    weight: float = 1.0
    max_tokens: int | None = None
    ttft_objective_s: float | None = None
    tpot_objective_s: float | None = None
    e2e_objective_s: float | None = None
    input_usd: float = 0.0
    """A prompt token's price; `output_usd` a generated one's."""
    output_usd: float = 0.0
    treated: tuple[int, ...] = ()
    """The actions that shaped it; `held_out` those that spared it on purpose."""
    held_out: tuple[int, ...] = ()
    patient: bool = False
    """Nobody waits for it on a connection: how long it takes to begin and to end is no evidence."""

    # How it goes.
    ticket: int = 0
    """Its number in the queue that it is in now; another one after a retry. 0: it is in none."""
    dispatched_s: float | None = None
    first_token_s: float | None = None
    tokens: int = 0
    mark_tokens: int = 0
    mark_s: float = 0.0
    last_s: float = 0.0
    """When the newest token came."""
    reported_tokens: int = 0
    """Tokens that have been charged and counted already."""
    cost_usd: float = 0.0
    ttft_judged: bool = False
    """Whether it has been counted good or bad for its first token, and for its end: once each."""
    e2e_judged: bool = False
    judged_tpot_s: float = -inf
