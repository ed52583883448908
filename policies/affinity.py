"""Sessions and the endpoints whose caches have their beginning. Pure: the clock is an argument.

A session is a caller and the name that it gives to what belongs together: the turns of a conversation, the
steps of an agent. Its next request is the cheapest where the last one was, as that endpoint has read most of
the prompt already. Nobody waits for it: an endpoint that has no room, or is far busier than the others, is
left, and the session lives on where it was served instead.
"""

import math
from collections import OrderedDict
from collections.abc import Sequence
from typing import Protocol, TypeVar

import msgspec

UNTOLD_LEAD = 8
"""Requests by which a session's endpoint may be ahead of the least loaded, where endpoints do not tell how many
they work on at once. They batch: a few more cost less than reading a conversation again."""

Session = tuple[str, str, str]
"""Pool, caller ("" for the anonymous ones together), and the name that the caller chose."""


class SessionSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`ttl_s` counts from a session's last request; of more than `max_sessions` the one unused for the
    longest is forgotten."""

    ttl_s: float = 600.0
    max_sessions: int = 10_000


class Told(Protocol):
    """What an endpoint says of itself."""

    @property
    def slots(self) -> int | None:
        """How many requests it works on at once; None: it does not tell."""
        ...


class Candidate(Protocol):
    """An endpoint that may be given work."""

    index: int
    inflight: int
    elsewhere: int
    """What others than its pool have there."""

    @property
    def state(self) -> Told: ...


C = TypeVar("C", bound=Candidate)


class Sessions:
    """Where each session was served last."""

    def __init__(self, settings: SessionSettings | None = None) -> None:
        self._settings = settings or SessionSettings()
        self._homes: OrderedDict[Session, tuple[int, float]] = OrderedDict()  # least recent first

    def __len__(self) -> int:
        return len(self._homes)

    def home(self, session: Session, now_s: float) -> int | None:
        """The endpoint that served it last, if that is not too long ago."""
        found = self._homes.get(session)
        if found is None or now_s - found[1] >= self._settings.ttl_s:
            return None
        return found[0]

    def served(self, session: Session, endpoint: int, now_s: float) -> None:
        """A request of it is dispatched there. Forgets what has expired."""
        self._homes[session] = (endpoint, now_s)
        self._homes.move_to_end(session)
        while self._homes:
            oldest, (_, used_s) = next(iter(self._homes.items()))
            expired = now_s - used_s >= self._settings.ttl_s
            if not expired and len(self._homes) <= self._settings.max_sessions:
                return
            del self._homes[oldest]

    def forget(self, pool: str) -> None:
        """Other backends than before may stand there: nobody's beginning is in their caches."""
        for session in [session for session in self._homes if session[0] == pool]:
            del self._homes[session]


def prefer(home: int | None, able: Sequence[C], *, told_slots: int) -> C:
    """The endpoint to give a request to: its session's (by index), if that has room, else the least loaded, of
    equals the one with the lowest index. `able` is not empty.

    Room is a free slot where slots are told; elsewhere it is to be not more than `UNTOLD_LEAD` ahead of the
    least loaded. `told_slots` stands for the slots of an endpoint that does not tell.
    """
    least, least_share = able[0], math.inf
    for one in able:
        share = (one.inflight + one.elsewhere) / (one.state.slots or told_slots)
        if share < least_share or (share == least_share and one.index < least.index):
            least, least_share = one, share
    if home is None:
        return least
    for one in able:
        if one.index == home:
            return one if _has_room(one, least) else least
    return least


def _has_room(home: Candidate, least: Candidate) -> bool:
    inflight = home.inflight + home.elsewhere
    if home.state.slots is not None:
        return inflight < home.state.slots
    return inflight - (least.inflight + least.elsewhere) <= UNTOLD_LEAD
