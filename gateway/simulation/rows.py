"""The rows of `--requests`: a line of CSV for each request, in the order of arrival.

Must stay true: the same outcomes give the same bytes, and what does not apply to a request is empty.
"""

import csv
from collections.abc import Iterable, Iterator
from typing import TextIO

from gateway.simulation.outcome import Outcome

COLUMNS = (
    "arrival_s",
    "intent",
    "tenant",
    "model",
    "fate",
    "input_tokens",
    "output_tokens",
    "queued_s",
    "ttft_s",
    "tpot_s",
    "e2e_s",
    "finish_reason",
    "cost_usd",
)


def write_rows(outcomes: Iterable[Outcome], out: TextIO) -> None:
    """Times to a microsecond, money to a millionth of a cent; `out` is open with `newline=""`."""
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(_rows(outcomes))


def _rows(outcomes: Iterable[Outcome]) -> Iterator[tuple[str | int, ...]]:
    for o in outcomes:
        yield (
            f"{o.arrival_s:.6f}",
            o.intent,
            o.tenant,
            o.model,
            o.fate,
            o.input_tokens,
            "" if o.output_tokens is None else o.output_tokens,
            _seconds(o.queued_s),
            _seconds(o.ttft_s),
            _seconds(o.tpot_s),
            _seconds(o.e2e_s),
            o.finish_reason,
            "" if o.cost_usd is None else f"{o.cost_usd:.8f}",
        )


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.6f}"
