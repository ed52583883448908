"""The HTML file: complete, self-contained, escaped, always the same."""

import re
from html.parser import HTMLParser

import msgspec
import pytest

from gateway.simulation import palette
from gateway.simulation.report import MAX_DECISIONS, html
from gateway.simulation.report_parts import Mark, Report, Run

pytestmark = pytest.mark.req("INT-10", "INT-12")

VOID = {"meta"}


class Page(HTMLParser):
    """Checks that what opens closes, and remembers what there is."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.values: list[str] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.values += [value or "" for name, value in attrs if "href" in name or name == "src"]
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.words.append(data.strip())


def test_the_page_has_table_picture_decisions_and_facts(report: Report) -> None:
    page = Page(html(report))
    assert {"table", "svg", "ol", "dl"} <= set(page.tags)
    expected = {"A spike", "Good answers", "94 %", "1:04", "confirmed: 3 of 160 late", "seed"}
    assert expected <= set(page.words)


def test_the_page_needs_nothing_else(report: Report) -> None:
    page = Page(html(report))
    assert {"script", "link", "img", "iframe"}.isdisjoint(page.tags)
    assert all(value.startswith("#") for value in page.values)
    assert "default-src 'none'" in html(report)


def test_the_same_report_gives_the_same_page(report: Report) -> None:
    assert html(report) == html(report)


def test_everything_that_comes_from_outside_is_escaped(report: Report) -> None:
    evil = "</title></svg><script>alert(1)</script>\"' onload=x"
    marks = (Mark(at_s=1.0, text="<script>m", kind="climb"),)
    panels = tuple(
        msgspec.structs.replace(panel, title=f"{evil}{number}", unit=evil)
        for number, panel in enumerate(report.runs[0].panels)
    )
    page = Page(
        html(
            Report(
                title=evil,
                subtitle=evil,
                runs=(Run(title=evil, panels=panels, marks=marks),),
                table=((evil, evil), (evil, evil)),
                decisions=((1.0, evil),),
                facts=((evil, evil),),
            )
        )
    )
    assert "script" not in page.tags
    assert page.words.count(evil) >= 8


def test_what_a_report_lacks_is_left_out(report: Report) -> None:
    page = Page(html(Report(title="t", runs=report.runs)))
    assert {"table", "ol", "dl", "p"}.isdisjoint(page.tags)


def test_every_colour_follows_light_and_dark(report: Report) -> None:
    text = html(report)
    picture = text[text.index("<svg") : text.index("</svg>")]
    assert not re.search(r"(fill|stroke): #", picture)
    used = set(re.findall(r"var\(--(\w+)\)", text))
    for colour in (*palette.PAPERS, *palette.INKS):
        assert f"--{colour.name}: {colour.light};" in text
        assert f"--{colour.name}: {colour.dark};" in text
        used.discard(colour.name)
    assert used == set()


def test_the_picture_says_in_words_what_it_shows_and_scales(report: Report) -> None:
    (svg,) = re.findall(r"<svg[^>]*>", html(report))
    assert 'role="img" aria-label="No control, Setpoint: TTFT p95, Waiting, Rung"' in svg
    assert "viewBox" in svg
    assert " width=" not in svg


def test_the_decision_log_is_bounded(report: Report) -> None:
    many = tuple((float(n), f"decision {n}") for n in range(MAX_DECISIONS + 5))
    page = Page(html(msgspec.structs.replace(report, decisions=many)))
    assert page.tags.count("li") == MAX_DECISIONS
    assert "and 5 more" in page.words
