"""When a backend says to come back: `retry-after-ms`, and `Retry-After` in seconds or as an HTTP date. Pure.

A date needs a now: that is the answer's own `Date`, which whoever receives an answer without one adds.
"""

from collections.abc import Mapping

from adapters.moments import seconds_until

LONGEST_S = 86_400.0


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds, or None. Negative and absurd values (over a day) count as none; a date that is past is 0."""
    for name, unit_s in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        raw = headers.get(name, "").strip()
        try:
            seconds: float | None = float(raw) * unit_s
        except ValueError:
            seconds = seconds_until(raw, headers) if name == "retry-after" else None
        if seconds is not None and 0 <= seconds <= LONGEST_S:
            return seconds
    return None
