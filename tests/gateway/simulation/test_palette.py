"""Colours that can be read and told apart."""

from itertools import combinations

import pytest

from gateway.simulation import palette

pytestmark = pytest.mark.req("INT-10")


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2)."""
    parts = (int(colour[place : place + 2], 16) / 255.0 for place in (1, 3, 5))
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("colour", palette.INKS, ids=lambda colour: colour.name)
def test_every_ink_stands_out_from_its_paper(colour: palette.Colour) -> None:
    # 3 is what WCAG asks of lines and large text.
    assert contrast(colour.light, palette.PAPER.light) >= 3.0
    assert contrast(colour.dark, palette.PAPER.dark) >= 3.0


@pytest.mark.parametrize("colour", [palette.INK, palette.MUTED], ids=lambda colour: colour.name)
def test_small_text_stands_out_more(colour: palette.Colour) -> None:
    assert contrast(colour.light, palette.PAPER.light) >= 4.5
    assert contrast(colour.dark, palette.PAPER.dark) >= 4.5


def test_no_two_colours_share_a_name_or_a_value() -> None:
    every = (*palette.PAPERS, *palette.INKS)
    assert len({colour.name for colour in every}) == len(every)
    assert len({colour.light for colour in every}) == len(every)


def _deficient(colour: str, matrix: tuple[tuple[float, float, float], ...]) -> list[float]:
    parts = [int(colour[place : place + 2], 16) / 255.0 for place in (1, 3, 5)]
    return [sum(weight * part for weight, part in zip(row, parts, strict=True)) for row in matrix]


# Machado, Oliveira & Fernandes 2009, full severity.
PROTANOPIA = ((0.152, 1.053, -0.205), (0.115, 0.786, 0.099), (-0.004, -0.048, 1.052))
DEUTERANOPIA = ((0.367, 0.861, -0.228), (0.280, 0.673, 0.047), (-0.012, 0.043, 0.969))
TRITANOPIA = ((1.256, -0.077, -0.179), (-0.078, 0.931, 0.148), (0.005, 0.691, 0.304))


@pytest.mark.parametrize("matrix", [PROTANOPIA, DEUTERANOPIA, TRITANOPIA])
def test_the_lines_of_a_panel_differ_for_the_colour_blind(
    matrix: tuple[tuple[float, float, float], ...],
) -> None:
    for one, other in combinations(palette.SERIES, 2):
        for a, b in ((one.light, other.light), (one.dark, other.dark)):
            seen = zip(_deficient(a, matrix), _deficient(b, matrix), strict=True)
            assert sum((x - y) ** 2 for x, y in seen) ** 0.5 > 0.25
