"""The picture of a report, as a figure, as SVG, as PNG.

Must stay true: the same report gives the same bytes with the same matplotlib, and matplotlib is
loaded only when a picture is asked for. How a picture looks is `drawing`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from gateway.simulation.report_parts import Report

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class NoMatplotlib(ImportError):
    """There is no matplotlib here. The message says how to get it."""


def figure(report: Report) -> "Figure":
    """1400 pixels wide: a column a run, a row a panel. Raises NoMatplotlib."""
    with _wants_matplotlib():
        from gateway.simulation.drawing import drawn
    return drawn(report)


def svg(report: Report) -> str:
    """An SVG document whose words are text. Raises NoMatplotlib."""
    with _wants_matplotlib():
        from gateway.simulation.drawing import saved
    return saved(report, "svg").decode()


def png(report: Report) -> bytes:
    """A PNG file, 1400 pixels wide. Raises NoMatplotlib."""
    with _wants_matplotlib():
        from gateway.simulation.drawing import saved
    return saved(report, "png")


@contextmanager
def _wants_matplotlib() -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as exc:
        if exc.name is None or exc.name.partition(".")[0] != "matplotlib":
            raise
        raise NoMatplotlib(
            "plots need matplotlib, which is not installed: `make install`, or pip install matplotlib"
        ) from exc
