"""How one inference goes: what its attempts were, when what happened, how it ended. Plain values."""

import msgspec

from contracts.errors import GatewayError
from contracts.events import Usage
from contracts.inference import Target
from gateway.trace_context import TraceContext


class AttemptRecord(msgspec.Struct):
    """One attempt, for the log."""

    target: Target
    engine: str
    replica: str
    version: str | None
    model_digest: str | None
    fault: str | None = None
    status: int | None = None
    dispatched_s: float | None = None
    first_token_s: float | None = None
    ended_s: float | None = None
    """On the gateway's clock."""
    quiet_s: float = 0.0
    """How long nothing had come from its engine when it ended."""
    usage: Usage | None = None
    """As its engine counted, or the gateway where the engine did not; None: it had no content."""
    trace: TraceContext | None = None
    """Its span, of which its engine was told."""


class Took(msgspec.Struct, frozen=True, gc=False):
    """How long a request took, in seconds. What it never came to is None."""

    e2e_s: float
    queue_s: float = 0.0
    ttft_s: float | None = None
    upstream_ttft_s: float | None = None
    tpot_s: float | None = None


class Progress(msgspec.Struct, kw_only=True):
    """How an inference goes; complete when `infer` has returned. Times are on the gateway's clock."""

    accepted_s: float
    trace: TraceContext | None = None
    """Its span, where engines are told what they work for."""
    target: Target | None = None
    queue_s: float = 0.0
    """In the queues of all pools that were asked, also where no place came of it."""
    engine_s: float = 0.0
    """In attempts that have ended."""
    backoff_s: float = 0.0
    attempts: list[AttemptRecord] = []
    dispatched_s: float | None = None
    """The last attempt's start."""
    first_token_s: float | None = None
    ended_s: float | None = None
    usage: Usage | None = None
    dropped: tuple[str, ...] = ()
    """Members of the request that its backend cannot do, and that were left out."""
    finish_reasons: list[str] = []
    fault: GatewayError | None = None
    """A fault after the first content: the client has seen it as an event."""

    def took(self, ended_s: float) -> "Took":
        """How long it all took, for a request that was answered at `ended_s`."""
        accepted_s, first_s, sent_s = self.accepted_s, self.first_token_s, self.dispatched_s
        return Took(
            ended_s - accepted_s,
            self.queue_s,
            None if first_s is None else first_s - accepted_s,
            None if first_s is None or sent_s is None else first_s - sent_s,
            self.tpot_s,
        )

    @property
    def tpot_s(self) -> float | None:
        """(e2e - TTFT) / (output tokens - 1); undefined below two tokens."""
        if self.first_token_s is None or self.ended_s is None or self.usage is None:
            return None
        gaps = self.usage.completion_tokens - 1
        return (self.ended_s - self.first_token_s) / gaps if gaps > 0 else None
