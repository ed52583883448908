"""Quantities as operators write them: `800ms`, `1%`, `2.50 USD`.

Each is a plain float with its unit fixed by its type, so the rest of the code
computes with numbers and never parses text. Built by `parse`; a wrong text is a
`ValueError` that shows the accepted spellings.
"""

import math
import re
from typing import Any, Self


class Quantity(float):
    """A number that configuration spells with a unit."""

    unit: str = ""
    spelling: str = ""
    _units: dict[str, float] = {}
    _bare_number: bool = False

    @classmethod
    def parse(cls, raw: object) -> Self:
        """Read `raw` (text, or a number where a bare number is unambiguous).

        Raises ValueError naming the accepted spellings.
        """
        if isinstance(raw, bool) or not isinstance(raw, str | int | float):
            raise ValueError(f"expected {cls.spelling}, got {_kind(raw)}")
        number, unit = _split(raw)
        if number is None or not math.isfinite(number) or number < 0:
            raise ValueError(f"expected {cls.spelling}, got {raw!r}")
        if unit == "" and (number == 0 or cls._bare_number):
            return cls(number)
        scale = cls._units.get(unit)
        if scale is None:
            raise ValueError(f"expected {cls.spelling}, got {raw!r}")
        if not math.isfinite(number * scale):
            raise ValueError(f"expected {cls.spelling}, got a number that is too large")
        return cls(number * scale)


class Duration(Quantity):
    """Seconds."""

    unit = "s"
    spelling = "a duration such as 800ms, 30s, 5m or 1h"
    _units = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


class Period(Duration):
    """Seconds; `day`, which is the calendar day in UTC and not any 24 hours, is `calendar_day`."""

    spelling = "a duration such as 30s, 1m or 1h, or day"
    calendar_day: bool = False

    @classmethod
    def parse(cls, raw: object) -> Self:
        if not isinstance(raw, str) or raw.strip().lower() != "day":
            return super().parse(raw)
        day = cls(86_400.0)
        day.calendar_day = True
        return day


class Share(Quantity):
    """A part of one: `1%` is 0.01; a bare 0.01 means the same."""

    unit = "1"
    spelling = "a share such as 1% or 0.01"
    _units = {"%": 0.01}
    _bare_number = True

    @classmethod
    def parse(cls, raw: object) -> Self:
        value = super().parse(raw)
        if value > 1:
            raise ValueError(f"expected {cls.spelling}, at most 100%, got {raw!r}")
        return value


class Money(Quantity):
    """US dollars."""

    unit = "USD"
    spelling = "an amount such as 2.50 USD"
    _units = {"usd": 1.0, "$": 1.0}
    _bare_number = True


class Size(Quantity):
    """Bytes."""

    unit = "B"
    spelling = "a size such as 64KiB, 32MiB or 1GiB"
    _units = {
        "b": 1.0,
        "kb": 1e3,
        "mb": 1e6,
        "gb": 1e9,
        "kib": 2.0**10,
        "mib": 2.0**20,
        "gib": 2.0**30,
    }
    _bare_number = True


_NUMBER_AND_UNIT = re.compile(r"\s*(\$?)\s*(\d+(?:\.\d+)?|\.\d+)\s*([A-Za-z%]*)\s*")


def _split(raw: str | int | float) -> tuple[float | None, str]:
    if isinstance(raw, int | float):
        try:
            return float(raw), ""
        except OverflowError:
            return None, ""
    found = _NUMBER_AND_UNIT.fullmatch(raw)
    if found is None:
        return None, ""
    dollar, number, unit = found.groups()
    if dollar and unit:
        return None, ""
    return float(number), (dollar or unit).lower()


def _kind(raw: Any) -> str:
    if raw is None:
        return "nothing"
    return {bool: "true or false", list: "a list", dict: "a mapping"}.get(
        type(raw), type(raw).__name__
    )
