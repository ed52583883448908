"""The colours of a report, on white paper and on dark.

Blue, orange, green and red are those of Okabe & Ito (2008), darker on white where thin lines need it; a
dark paper's colour is the same hue, lighter. Must stay true: whoever is colour-blind can tell the
lines of a panel apart (marks have shapes), and no two colours have the same value on white, for
`report` finds them in a picture by it.
"""

import msgspec


class Colour(msgspec.Struct, frozen=True):
    """`name` is that of a CSS custom property."""

    name: str
    light: str
    dark: str


INK = Colour("ink", "#1b2430", "#e6ebf1")
MUTED = Colour("muted", "#5a6675", "#a2aebb")
GRID = Colour("grid", "#e3e7ec", "#313a46")
PAPER = Colour("paper", "#ffffff", "#161b22")
BLUE = Colour("blue", "#0072b2", "#58b4f0")
GREEN = Colour("green", "#008a64", "#3ccf9f")
ORANGE = Colour("orange", "#b97900", "#f0b429")
VIOLET = Colour("violet", "#8000ff", "#a855f7")
RED = Colour("red", "#d55e00", "#ff8a3d")

PAPERS = (PAPER, GRID)
INKS = (INK, MUTED, BLUE, ORANGE, GREEN, VIOLET, RED)
SERIES = (BLUE, ORANGE, INK, VIOLET)
"""The lines of a panel, in order."""
LATE = RED
"""What lies above its objective."""
