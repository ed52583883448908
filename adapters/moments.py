"""Moments in headers: HTTP dates (RFC 9110) and RFC 3339. Pure: "now" is what the answer says of itself.

A provider's moment is compared with its own `Date`, so that a clock that is wrong, here or there, does no harm.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_LONGEST = 64


def unix_s(text: str) -> float | None:
    """Seconds since 1970; None for what is no moment, or one of nobody knows which time zone."""
    text = text.strip()
    if not text or len(text) > _LONGEST:
        return None
    try:
        if text[0].isdigit():
            moment = datetime.fromisoformat(text)
        else:
            moment = parsedate_to_datetime(text)
            # Of its three forms one names no zone; it means GMT like the others.
            moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return moment.timestamp() if moment.tzinfo else None
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def seconds_until(text: str, headers: Mapping[str, str]) -> float | None:
    """How long after the answer with these headers that moment is, at least 0; None where one is missing."""
    moment_s, now_s = unix_s(text), unix_s(headers.get("date", ""))
    return None if moment_s is None or now_s is None else max(0.0, moment_s - now_s)
