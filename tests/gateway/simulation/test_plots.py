"""Pictures as files: always the same bytes, text that is text, and no matplotlib until it is needed."""

import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import matplotlib as mpl
import msgspec
import pytest
from matplotlib.figure import Figure

from gateway.simulation import plots
from gateway.simulation.report_parts import Mark, Report

pytestmark = pytest.mark.req("INT-10", "INT-12")


def test_the_same_report_gives_the_same_bytes(report: Report) -> None:
    assert plots.svg(report) == plots.svg(report)
    assert plots.png(report) == plots.png(report)


def test_another_process_gives_the_same_bytes_too(report: Report) -> None:
    assert _elsewhere(report, PYTHONHASHSEED="7") == plots.svg(report)


def _elsewhere(report: Report, **env: str) -> str:
    """What a process with this environment makes of the report."""
    code = (
        "import sys, msgspec\n"
        "from gateway.simulation import plots\n"
        "from gateway.simulation.report_parts import Report\n"
        "sys.stdout.write(plots.svg(msgspec.json.decode(sys.stdin.buffer.read(), type=Report)))\n"
        "sys.exit('matplotlib.pyplot' in sys.modules)\n"
    )
    other = subprocess.run(
        [sys.executable, "-c", code],
        input=msgspec.json.encode(report),
        capture_output=True,
        check=True,
        env={"HOME": "/nonexistent", **env},
    )
    return other.stdout.decode()


def test_an_svg_is_well_formed_and_its_words_are_text(report: Report) -> None:
    root = ElementTree.fromstring(plots.svg(report))
    words = {element.text for element in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {"A spike", "Setpoint", "switch model", "4:00"} <= words


def test_an_svg_says_neither_when_nor_with_what_it_was_made(report: Report) -> None:
    assert "<metadata>" not in plots.svg(report)
    assert mpl.__version__ not in plots.svg(report)


@pytest.mark.parametrize("text", ["$x^2$ & <b>", "\x00\x1b[31m", "日本 🎉", "a" * 999, ""])
def test_any_text_can_be_drawn_as_it_is(report: Report, text: str) -> None:
    mark = Mark(at_s=1.0, text=text, kind="event")
    run = msgspec.structs.replace(report.runs[0], title=text, marks=(mark,))
    odd = msgspec.structs.replace(report, title=text, subtitle=text, runs=(run,))
    root = ElementTree.fromstring(plots.svg(odd))
    words = {element.text for element in root.iter("{http://www.w3.org/2000/svg}text")}
    if text.isprintable() and 0 < len(text) < 20:
        assert text in words
    assert plots.png(odd)


def test_a_png_is_1400_pixels_wide(report: Report) -> None:
    picture = plots.png(report)
    assert picture.startswith(b"\x89PNG\r\n")
    assert struct.unpack(">I", picture[16:20]) == (1400,)


def test_a_figure_is_there_for_whoever_wants_to_change_it(report: Report) -> None:
    assert isinstance(plots.figure(report), Figure)


@pytest.mark.parametrize("draw", [plots.figure, plots.svg, plots.png])
def test_without_matplotlib_the_error_says_what_to_install(
    report: Report, draw: Callable[[Report], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "gateway.simulation.drawing", raising=False)
    monkeypatch.delattr("gateway.simulation.drawing", raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(plots.NoMatplotlib, match="`make install`, or pip install matplotlib"):
        draw(report)


def test_matplotlib_is_not_loaded_before_it_is_needed() -> None:
    code = "import sys, gateway.simulation.report; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_no_display_and_no_matplotlibrc_has_a_say(report: Report, tmp_path: Path) -> None:
    (tmp_path / "matplotlibrc").write_text("backend: TkAgg\nlines.linewidth: 9\nfont.size: 30\n")
    assert _elsewhere(report, MATPLOTLIBRC=str(tmp_path)) == plots.svg(report)
