"""What the load generator is told to do, and what it found: the words that it shares with the harness."""

import msgspec

Seconds = float
HOLD = "hold"
"""The `user` of a request whose stream has tokens and no end."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A bounded run: so many requests, each of `tokens` tokens, so many at once."""

    url: str
    """Base URL, without /v1."""
    model: str
    requests: int
    concurrency: int
    tokens: int
    stream: bool = False
    ramp_s: Seconds = 0.0
    """The connections begin spread out over this time."""
    callers: int = 1
    """So many bearer tokens take turns."""
    headers: list[tuple[str, str]] = []
    watch: int = 0
    """The process whose CPU time, and its children's, is read before the first and after the last byte."""
    hold: bool = False
    """The streams have their tokens and no end: they are held open until standard input ends."""
    limit_s: Seconds = 120.0


class Run(msgspec.Struct, kw_only=True):
    """What came of a plan."""

    done: int = 0
    """Whole and right answers."""
    wrong: dict[str, int] = {}
    """How often what was wrong. With any, the rest of the figures mean nothing."""
    elapsed_s: Seconds = 0.0
    cpu_s: Seconds = 0.0
    """Of the watched process and its children."""
    own_cpu_s: Seconds = 0.0
    """The generator's."""
    whole_s: list[Seconds] = []
    """From the request's writing to the end of its answer."""
    first_s: list[Seconds] = []
    """From the request's writing to its first token."""
    most_at_once: int = 0
    """Streams that had begun and not ended, at their most."""
    largest_gap_s: Seconds = 0.0
    """The longest that any stream, once it had begun, was without new bytes."""

    def complaint(self) -> str:
        """What was wrong, in a few words; empty if nothing was."""
        count = sum(self.wrong.values())
        if not count:
            return ""
        most = max(self.wrong, key=lambda fault: self.wrong[fault])
        return f"{count} of {self.done + count} answers were wrong: {most}"


def caller_token(caller: int) -> str:
    """The bearer token of a caller."""
    return f"bench-caller-{caller:05d}"
