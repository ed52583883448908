"""What the records ask of a database, whichever it is: work in a transaction, and rows by the thousand."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, TypeVar

import msgspec
import sqlalchemy as sa

T = TypeVar("T")
Work = Callable[[sa.Connection], T]
"""What is done in one transaction. Runs in a thread or a greenlet of the engine's: it returns plain values, and
touches nothing of the event loop's."""
Statement = tuple[str, Iterable[Sequence[Any]]]
"""SQL in the driver's words, and the values for each time that it is run."""
CONNECTIONS = 4


class Engine(Protocol):
    """Connects when it is first used, and again after `dispose`. Raises what the driver and SQLAlchemy do."""

    @property
    def dialect(self) -> sa.Dialect:
        """What a statement is to be compiled for that goes to the driver as it is."""
        ...

    @property
    def errors(self) -> tuple[type[Exception], ...]:
        """Of the driver's own, that SQLAlchemy does not know of."""
        ...

    @property
    def connected(self) -> bool:
        """Whether a connection is open, and free."""
        ...

    async def run(self, work: Work[T], *, writes: bool) -> T:
        """Its result. What it wrote is on disk then, or, after an exception, undone; who only reads does not hold up
        writers. Who is cancelled does not know."""
        ...

    async def write(self, statements: Sequence[Statement]) -> None:
        """All of them in one transaction, by the driver alone."""
        ...

    async def dispose(self) -> None:
        """Close the connections that are free, and the others when they are."""
        ...


def has_free(pool: sa.Pool) -> bool:
    """A connection that is open, and that nobody uses."""
    return isinstance(pool, sa.QueuePool) and pool.checkedin() > 0


def _as_it_is(text: str) -> str:
    return text


OPTIONS: dict[str, Any] = {
    "hide_parameters": True,
    # JSON is encoded once, by msgspec, where the row is made.
    "json_serializer": _as_it_is,
    "json_deserializer": msgspec.json.decode,
    "pool_size": CONNECTIONS,
    "max_overflow": 0,
}
"""Of SQLAlchemy's, for every database."""
