"""One request under way, as the loop sees it: plain numbers that the shell counts up.

The hot path touches `tokens` only; everything else is written at most once an event. No logic beyond
reading itself may live here.
"""

SPAN_TOKENS = 16
"""A stream's pace is the mean gap of at least so many tokens: single gaps are heavy-tailed, since other
requests' prompts are read in between (control.md C2)."""


class Flight:
    """Times are on the loop's clock; objectives are this request's own, a client may have tightened
    them. `lane` is (pool, model as the pool knows it)."""

    __slots__ = (
        "arrived_s",
        "caller",
        "cost_usd",
        "dispatched_s",
        "e2e_judged",
        "e2e_objective_s",
        "first_token_s",
        "held_out",
        "input_usd",
        "intent",
        "judged_tpot_s",
        "lane",
        "last_s",
        "mark_s",
        "mark_tokens",
        "max_tokens",
        "model",
        "output_usd",
        "over",
        "patient",
        "priority",
        "prompt_tokens",
        "reported_tokens",
        "request",
        "ticket",
        "tokens",
        "tpot_objective_s",
        "treated",
        "ttft_judged",
        "ttft_objective_s",
        "weight",
    )

    def __init__(
        self,
        request: int,
        *,
        intent: str,
        model: str,
        lane: tuple[str, str],
        caller: str,
        priority: int,
        prompt_tokens: int,
        arrived_s: float,
        weight: float = 1.0,
        max_tokens: int | None = None,
        ttft_objective_s: float | None = None,
        tpot_objective_s: float | None = None,
        e2e_objective_s: float | None = None,
        input_usd: float = 0.0,
        output_usd: float = 0.0,
        treated: tuple[int, ...] = (),
        held_out: tuple[int, ...] = (),
        patient: bool = False,
    ) -> None:
        self.request = request
        self.ticket = request
        """Its number in the queue that it is in now; another one after a retry."""
        self.intent = intent
        self.model = model
        self.lane = lane
        self.caller = caller
        self.priority = priority
        self.prompt_tokens = prompt_tokens
        self.arrived_s = arrived_s
        self.weight = weight
        self.max_tokens = max_tokens
        self.ttft_objective_s = ttft_objective_s
        self.tpot_objective_s = tpot_objective_s
        self.e2e_objective_s = e2e_objective_s
        self.input_usd = input_usd
        """A prompt token's price; `output_usd` a generated one's."""
        self.output_usd = output_usd
        self.treated = treated
        """The actions that shaped it; `held_out` those that spared it on purpose."""
        self.held_out = held_out
        self.patient = patient
        """Nobody waits for it on a connection: how long it takes to begin and to end is no evidence."""
        self.dispatched_s: float | None = None
        self.first_token_s: float | None = None
        self.tokens = 0
        self.mark_tokens = 0
        self.mark_s = 0.0
        self.last_s = 0.0
        """When the newest token came."""
        self.reported_tokens = 0
        """Tokens that have been charged and counted already."""
        self.cost_usd = 0.0
        self.ttft_judged = self.e2e_judged = False
        """Whether it has been counted good or bad for its first token, and for its end: once each."""
        self.judged_tpot_s = float("-inf")
        self.over = False
