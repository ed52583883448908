"""W3C Trace Context: where a request stands in the trace of whoever sent it. Values in, values out.

What must stay true: nothing of a client's header travels on that was not read and understood here. Source:
https://www.w3.org/TR/trace-context/, level 1; of a later version, the four parts that it shares.
"""

import random
import re
from collections.abc import Callable, Mapping

import msgspec

TRACEPARENT, TRACESTATE = "traceparent", "tracestate"
_PARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_STATE = re.compile(r"[!-~]+=[ -~]*(?:,[ -~]*)?")
STATE_CHARS = 512
_SAMPLED = 1

NewId = Callable[[int], int]
"""Draws so many bits."""


class TraceContext(msgspec.Struct, frozen=True, kw_only=True):
    """One span's place: its trace, itself, its parent. Ids are never 0."""

    trace_id: int
    span_id: int
    parent_id: int | None = None
    """None: it begins the trace."""
    sampled: bool = True
    state: str = ""
    """What vendors on the way have written down, as it came."""

    def child(self, new_id: NewId = random.getrandbits) -> "TraceContext":
        """A span below this one."""
        return TraceContext(
            trace_id=self.trace_id,
            span_id=_draw(new_id, 64),
            parent_id=self.span_id,
            sampled=self.sampled,
            state=self.state,
        )

    def headers(self) -> tuple[tuple[str, str], ...]:
        """For a request that this span sends."""
        parent = f"00-{self.trace_id:032x}-{self.span_id:016x}-{int(self.sampled):02x}"
        given = ((TRACEPARENT, parent),)
        return (*given, (TRACESTATE, self.state)) if self.state else given


def begin(
    headers: Mapping[str, str], share: float, new_id: NewId = random.getrandbits
) -> TraceContext:
    """A request's own span: below that of its client, which then says whether the trace is kept; or the
    beginning of a trace, of which `share` are kept. `headers` are lower-case; what cannot be read is not
    there. Never raises."""
    found = _PARENT.fullmatch(headers.get(TRACEPARENT, ""))
    span_id = _draw(new_id, 64)
    if found is not None and _is_whole(found):
        state = headers.get(TRACESTATE, "").strip()
        return TraceContext(
            trace_id=int(found[2], 16),
            span_id=span_id,
            parent_id=int(found[3], 16),
            sampled=bool(int(found[4], 16) & _SAMPLED),
            state=state if len(state) <= STATE_CHARS and _STATE.fullmatch(state) else "",
        )
    trace_id = _draw(new_id, 128)
    return TraceContext(
        trace_id=trace_id,
        span_id=span_id,
        # as every sampler by ratio does, so that all who see the trace come to the same answer
        sampled=(trace_id & (2**64 - 1)) < round(share * 2**64),
    )


def _is_whole(found: "re.Match[str]") -> bool:
    """Version 00 has four parts, ff is none, and an id of zeros is none either."""
    version, trace_id, parent_id, more = found[1], found[2], found[3], found[5]
    return (
        version != "ff"
        and not (version == "00" and more)
        and int(trace_id, 16) != 0
        and int(parent_id, 16) != 0
    )


def _draw(new_id: NewId, bits: int) -> int:
    while (drawn := new_id(bits)) == 0:
        pass
    return drawn
