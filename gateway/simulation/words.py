"""How a report says a time, a number, a text that is too long. Pure."""


def clock(at_s: float) -> str:
    """Minutes and seconds, `4:05`; from an hour on with hours, `1:04:05`."""
    sign, whole = "-" if round(at_s) < 0 else "", abs(round(at_s))
    minutes, seconds = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{sign}{hours}:{minutes:02}:{seconds:02}" if hours else f"{sign}{minutes}:{seconds:02}"


def number(value: float) -> str:
    """As short as it can be read: `0.8`, `12,000`."""
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:g}"


def shortened(text: str, most: int) -> str:
    """`text` in one line without control characters, at most `most` characters (3 at least)."""
    plain = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return plain if len(plain) <= most else f"{plain[: most - 3]}..."
