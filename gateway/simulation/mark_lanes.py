"""Where the words beside a run's marks go, so that none covers another. Pure.

A mark is a pole; its words stand to its right, like a flag, in one of a few lanes. Must stay true: no
two texts overlap and no pole crosses a text. Where there is no room, a mark stays without words:
the decision log has them all.
"""

from collections.abc import Sequence


def lanes(
    places: Sequence[float], widths: Sequence[float], *, count: int, end: float
) -> list[int | None]:
    """For each mark its lane (0 is the lowest), or None where its words find no room.

    `places` are in order, in the unit of `widths`; words end at `end` at the latest. A pole is as
    high as its lane, so a mark takes the highest lane that has no text in it or below it there.
    """
    taken_to = [float("-inf")] * count
    chosen: list[int | None] = []
    for place, width in zip(places, widths, strict=True):
        free = 0
        while free < count and taken_to[free] <= place:
            free += 1
        if free == 0 or place + width > end:
            chosen.append(None)
        else:
            taken_to[free - 1] = place + width
            chosen.append(free - 1)
    return chosen
