"""What an inference says while it runs: the same words for every backend.

A well-formed stream is

    Opened?  Delta*  Finish (one a choice)  UsageReport?  End        or at any point   Fault

`adapters.normalise` is what makes any backend's stream well-formed. A non-streamed answer is
this stream, folded. Frozen by convention, not by msgspec: one `Delta` is built per token.
"""

import msgspec

from contracts.errors import GatewayError


class ToolCallDelta(msgspec.Struct, kw_only=True):
    """A piece of one tool call. `index` counts from 0 within a choice and never changes its meaning."""

    index: int
    id: str | None = None
    name: str | None = None
    arguments: str = ""


class Usage(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Token counts, inclusive: tokens that were in the backend's cache (`cached_tokens`) or have been put there
    (`cache_write_tokens`) are prompt tokens, reasoning tokens are completion tokens."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    estimated: bool = False
    """The backend reported nothing; these are the gateway's own counts."""

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


class Opened(msgspec.Struct, kw_only=True):
    """The backend began to answer. Not a first token: headers and role-only deltas come before it."""

    system_fingerprint: str | None = None
    service_tier: str | None = None


class Delta(msgspec.Struct, kw_only=True):
    """Text, reasoning, refusal or tool-call pieces of one choice; at least one of them is present."""

    choice: int = 0
    content: str = ""
    reasoning: str = ""
    refusal: str = ""
    tool_calls: tuple[ToolCallDelta, ...] = ()
    logprobs: msgspec.Raw | None = None
    extra: dict[str, msgspec.Raw] | None = None
    """Other members of the delta (`audio`, `annotations`, ...), as the backend wrote them."""
    pieces: int = 1
    """How many of the backend's it stands for: more than one only where nobody sees them before the end."""


class Finish(msgspec.Struct, kw_only=True):
    """One choice is complete: the finish marker was seen."""

    reason: str
    choice: int = 0
    stop_sequence: str | None = None
    """Which of the client's sequences ended it, where the backend tells."""
    limit: int | None = None
    """Only from decoders, of a backend that says "stop" whatever it was: where the usage tells at least so
    many tokens, it was "length"."""


class UsageReport(msgspec.Struct, kw_only=True):
    usage: Usage


class Document(msgspec.Struct, kw_only=True):
    """An answer that is not a stream (embeddings): its members, as the backend wrote them."""

    members: dict[str, msgspec.Raw]


class End(msgspec.Struct, kw_only=True):
    """The stream is complete. Nothing follows."""


class Fault(msgspec.Struct, kw_only=True):
    """The stream failed. Nothing follows."""

    error: GatewayError


Event = Opened | Delta | Finish | UsageReport | Document | End | Fault
