"""When a backend says to come back: `retry-after-ms`, and `Retry-After` in seconds.

The HTTP-date form needs a clock, so it is not read here: the pure core has none. It counts as
"no hint", and the gateway's own backoff applies.
"""

from collections.abc import Mapping


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds, or None. Negative and absurd values (over a day) count as none."""
    for name, unit_s in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        raw = headers.get(name, "").strip()
        try:
            seconds = float(raw) * unit_s
        except ValueError:
            continue
        if 0 <= seconds <= 86_400:
            return seconds
    return None
