"""What became of one simulated request: a row of `--requests`."""

from typing import Literal, get_args

Fate = Literal["served", "refused", "dropped", "shed", "failed", "cancelled"]
"""`refused`: on arrival, or displaced from a full queue. `dropped`: it waited and could no longer be in
time. `shed`: by the loop's own decision. `failed`: the engine declined or broke. `cancelled`: it was
still under way when the simulation was over."""
FATES: tuple[Fate, ...] = get_args(Fate)


class Outcome:
    """Times in seconds; None where it never came to that. Mutable, and light: there are many.

    Begins as `cancelled` and is given its fate once. `finish_reason` is the answer's, or why there is
    none.
    """

    __slots__ = (
        "arrival_s",
        "cost_usd",
        "e2e_s",
        "fate",
        "finish_reason",
        "input_tokens",
        "intent",
        "model",
        "output_tokens",
        "queued_s",
        "tenant",
        "tpot_s",
        "ttft_s",
    )

    def __init__(self, arrival_s: float, tenant: str, input_tokens: int) -> None:
        self.arrival_s = arrival_s
        self.tenant = tenant
        self.input_tokens = input_tokens
        self.intent = ""
        self.model = ""
        """The one that it went to, or would have gone to."""
        self.fate: Fate = "cancelled"
        self.output_tokens: int | None = None
        self.queued_s: float | None = None
        self.ttft_s: float | None = None
        self.tpot_s: float | None = None
        self.e2e_s: float | None = None
        self.finish_reason = ""
        self.cost_usd: float | None = None
