"""A report as one HTML file that needs nothing else: no script, no network, no other file.

The result as a table, the picture, the decisions in words, and what the run was made with. Must stay
true: everything that comes from the report is escaped, and the same report gives the same text.
"""

import re
from html import escape

import msgspec

from gateway.simulation import palette, plots
from gateway.simulation.palette import Colour
from gateway.simulation.report_parts import Report
from gateway.simulation.words import clock

MAX_DECISIONS = 1000
"""In the log; more than anyone reads."""
_COLOURS: dict[str, Colour] = {colour.light: colour for colour in (*palette.PAPERS, *palette.INKS)}
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_STYLE = """
:root { color-scheme: light dark; LIGHT }
@media (prefers-color-scheme: dark) { :root { DARK } }
body { margin: 0 auto; padding: 2rem 1.5rem 4rem; max-width: 1400px; background: var(--paper);
  color: var(--ink); font: 15px/1.5 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; }
h1 { margin: 0; font-size: 1.6rem; line-height: 1.25; }
h2 { margin: 2.5rem 0 .75rem; font-size: 1.1rem; }
p { margin: .25rem 0; }
.muted, time, dt, th { color: var(--muted); font-weight: normal; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem 1.25rem; border-bottom: 1px solid var(--grid); text-align: right; }
td { white-space: nowrap; }
th:first-child { padding-left: 0; text-align: left; }
thead th { color: var(--ink); font-weight: 600; }
figure { margin: 2rem 0 0; }
figure svg { display: block; width: 100%; min-width: 900px; height: auto; }
ol { margin: 0; padding: 0; list-style: none; }
li { display: grid; grid-template-columns: 5rem 1fr; padding: .3rem 0;
  border-bottom: 1px solid var(--grid); font-variant-numeric: tabular-nums; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .3rem 2rem; margin: 0; }
dd { margin: 0; overflow-wrap: anywhere; }
"""


def html(report: Report) -> str:
    """The document. Raises plots.NoMatplotlib."""
    title = escape(report.title)
    return "\n".join(
        part
        for part in (
            "<!doctype html>",
            '<html lang="en">',
            '<head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{title}</title>",
            f"<style>{_style()}</style></head>",
            "<body>",
            f"<h1>{title}</h1>",
            f'<p class="muted">{escape(report.subtitle)}</p>' if report.subtitle else "",
            _table(report),
            _figure(report),
            _decisions(report),
            _facts(report),
            "</body></html>",
        )
        if part
    )


def _style() -> str:
    light = " ".join(f"--{colour.name}: {colour.light};" for colour in _COLOURS.values())
    dark = " ".join(f"--{colour.name}: {colour.dark};" for colour in _COLOURS.values())
    return _STYLE.replace("LIGHT", light).replace("DARK", dark)


def _table(report: Report) -> str:
    if not report.table:
        return ""
    head, *rows = report.table
    names = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    body = "\n".join(
        f'<tr><th scope="row">{escape(name)}</th>'
        + "".join(f"<td>{escape(value)}</td>" for value in values)
        + "</tr>"
        for name, *values in rows
    )
    return (
        f'<h2>Result</h2>\n<div class="wide"><table><thead><tr>{names}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody></table></div>"
    )


def _figure(report: Report) -> str:
    """The picture inline, in colours that follow the reader's light or dark."""
    picture = plots.svg(msgspec.structs.replace(report, title="", subtitle=""))
    picture = picture[picture.index("<svg") :]
    picture = re.sub(r'(<svg[^>]*?) width="[^"]*" height="[^"]*"', r"\1", picture, count=1)
    told = escape(
        f"{', '.join(run.title for run in report.runs)}: {', '.join(report.panel_titles)}"
    )
    picture = picture.replace("<svg", f'<svg role="img" aria-label="{told}"', 1)
    picture = re.sub(r"(?<=: )#[0-9a-f]{6}", _variable, picture)
    return f'<figure class="wide">\n{picture.strip()}\n</figure>'


def _variable(found: re.Match[str]) -> str:
    colour = _COLOURS.get(found[0])
    return f"var(--{colour.name})" if colour else found[0]


def _decisions(report: Report) -> str:
    if not report.decisions:
        return ""
    lines = [
        f"<li><time>{clock(at_s)}</time><span>{escape(words)}</span></li>"
        for at_s, words in report.decisions[:MAX_DECISIONS]
    ]
    left = len(report.decisions) - len(lines)
    more = f'\n<p class="muted">and {left} more</p>' if left else ""
    return "<h2>Decisions</h2>\n<ol>\n" + "\n".join(lines) + f"\n</ol>{more}"


def _facts(report: Report) -> str:
    if not report.facts:
        return ""
    lines = "\n".join(
        f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in report.facts
    )
    return f"<h2>Made with</h2>\n<dl>\n{lines}\n</dl>"
