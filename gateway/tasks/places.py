"""Where those that are listed together stand in the queues of their pools.

Each pool is asked once, however many ask for their place there: a list of a thousand that wait would
otherwise compare each caller with every other a thousand times.
"""

from collections.abc import Callable

from gateway.entry import Door, Entry
from policies.admission import Place

PlaceOf = Callable[[Entry], Place | None]


class PlacesAtOnce:
    """A PlaceOf for one moment: use it, and let it go, without awaiting anything in between."""

    def __init__(self) -> None:
        self._places: dict[Door, dict[int, Place]] = {}

    def __call__(self, entry: Entry) -> Place | None:
        places = self._places.get(entry.pool)
        if places is None:
            places = self._places[entry.pool] = entry.pool.places()
        return places.get(entry.request)
