"""How busy a backend is by its own account, from the text of its metrics. Pure: a page in, numbers out.

The page is somebody else's and may be anything, so only the lines that are wanted are read, and of those
no more than `SAMPLES_MAX`. What must stay true: a number that is not known is None, never 0; a page of
`PAGE_BYTES` takes milliseconds, whatever stands in it.
"""

from collections.abc import Iterator

import msgspec

PAGE_BYTES = 1024 * 1024
"""A longer page is not read. vLLM writes a tenth of that."""
SAMPLES_MAX = 256
"""Lines of one name: models times engines behind one address. With more of them nothing is known."""
LINE_BYTES = 4096
LARGEST = 1e9
"""A number above it is none that an engine means."""


class LoadMetrics(msgspec.Struct, frozen=True, kw_only=True):
    """Where an engine says it, and under which names; of several names the first that is there counts."""

    path: str = "/metrics"
    waiting: tuple[str, ...] = ()
    running: tuple[str, ...] = ()
    kv_cache_usage: tuple[str, ...] = ()


class LoadSignals(msgspec.Struct, frozen=True, kw_only=True):
    """What one endpoint says of itself, or a pool's endpoints together. None: not known."""

    waiting: int | None = None
    """Requests in its own queue, whoever sent them."""
    running: int | None = None
    """Requests that it works on, whoever sent them."""
    kv_cache_usage: float | None = None
    """The share of its KV cache that is in use, 0 to 1."""

    @property
    def known(self) -> bool:
        """Whether it says anything."""
        return not (self.waiting is None and self.running is None and self.kv_cache_usage is None)


UNKNOWN = LoadSignals()


def read_load(page: bytes, names: LoadMetrics) -> LoadSignals:
    """Counts are added up over the models and engines behind one address; the cache's use is their mean.

    Never raises.
    """
    text = b"\n" + page[:PAGE_BYTES]
    usage = _first(text, names.kv_cache_usage)
    return LoadSignals(
        waiting=_count(_first(text, names.waiting)),
        running=_count(_first(text, names.running)),
        kv_cache_usage=min(sum(usage) / len(usage), 1.0) if usage else None,
    )


def together(loads: list[LoadSignals]) -> LoadSignals:
    """A pool's endpoints as one. What one of them does not say is not known of all: a sum of a part would
    pass for the whole."""
    if not loads:
        return UNKNOWN
    waiting = [load.waiting for load in loads if load.waiting is not None]
    running = [load.running for load in loads if load.running is not None]
    usage = [load.kv_cache_usage for load in loads if load.kv_cache_usage is not None]
    every = len(loads)
    return LoadSignals(
        waiting=sum(waiting) if len(waiting) == every else None,
        running=sum(running) if len(running) == every else None,
        kv_cache_usage=sum(usage) / every if len(usage) == every else None,
    )


def _first(text: bytes, names: tuple[str, ...]) -> list[float]:
    """The samples of the first name that has any; none where one of them is no number to go by."""
    for name in names:
        found = list(_samples(text, name.encode()))
        if found:
            known = [value for value in found if value is not None]
            return known if len(known) == len(found) else []
    return []


def _samples(text: bytes, name: bytes) -> Iterator[float | None]:
    """Other metrics may begin with the same letters, and count towards `SAMPLES_MAX`. None stands for a
    sample that is no number, and for whatever comes after so many."""
    at = 0
    for _ in range(SAMPLES_MAX):
        at = text.find(b"\n" + name, at)
        if at < 0:
            return
        at += 1 + len(name)
        if text[at : at + 1] in (b"{", b" ", b"\t"):
            line = text[at : at + LINE_BYTES].partition(b"\n")[0]
            yield _value(line) if len(line) < LINE_BYTES else None
    yield None


def _value(rest: bytes) -> float | None:
    """The number after the labels, which may be followed by a time."""
    try:
        value = float(rest.rpartition(b"}")[2].split()[0])
    except (IndexError, ValueError):
        return None
    return value if 0 <= value <= LARGEST else None


def _count(values: list[float]) -> int | None:
    return round(sum(values)) if values else None
