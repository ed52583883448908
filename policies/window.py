"""What was seen lately, in slots of one second: distributions, exceedances, rates.

Must stay true: nothing older than its span is ever in an answer, with or without new arrivals;
memory is bounded by the span and the buckets, never by the traffic. Which answers count as enough
evidence is not decided here.

A span of 30 is the current second and the 29 before it. All times are seconds >= 0 on one clock;
one that goes back counts as the newest. Asking for a span that was not declared is a KeyError.

Plain sums are not kept per span: one running sum is, and where it stood when each slot began. What
a span holds is the difference, so an arrival costs the same however many spans there are, and a span
that has emptied is exactly zero again.
"""

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from itertools import cycle
from math import inf

from policies.sketch import LOWEST, bucket_of, buckets_of, quantile

SPANS_S = (5, 30, 300)
"""What the loop steers by, what an intent is judged by, what is normal."""

_CACHED_QUANTILES = 16
_fresh = cycle(range(128, 256, 16))
"""How many single observations a window gathers at most; not as many as the one before it. The windows of an intent
fill alike, and one request would wait for all of them, 30 us each."""

_Sums = tuple[int, int, float]
"""Observations with a value, those missing, and the sum of the values in seconds."""
_Slot = tuple[int, dict[int, int], _Sums]
"""A second that is over: which, its buckets, and the sums when it began. A plain tuple: a slot is
made for each second of each signal, and a named one takes five times as long."""


class _Span:
    def __init__(self, span_s: int) -> None:
        self.span_s = span_s
        self.counts: dict[int, int] = {}  # without the open slot's
        self.slots: deque[_Slot] = deque()
        self.top = LOWEST  # not below any bucket of a slot

    def take(self, slot: _Slot, top: int) -> None:
        _add(slot[1], self.counts)
        self.slots.append(slot)
        if top > self.top:
            self.top = top

    def leave(self, last: int) -> None:
        """Take out the slots up to the second `last`."""
        counts, slots = self.counts, self.slots
        while slots and slots[0][0] <= last:
            for bucket, count in slots.popleft()[1].items():
                left = counts[bucket] - count
                if left:
                    counts[bucket] = left
                else:
                    del counts[bucket]


class Window:
    """One signal in seconds, over several spans at once. What they have in common, the open slot, is added to each
    when its second is over, or when somebody looks."""

    def __init__(self, spans_s: tuple[int, ...] = SPANS_S) -> None:
        self._spans = {span_s: _Span(span_s) for span_s in _checked(spans_s)}
        self._cache: dict[tuple[int, float], float | None] = {}
        self._n, self._missing, self._total = 0, 0, 0.0
        self._second = 0
        self._opened: _Sums = (0, 0, 0.0)  # the same three when the open slot began
        self._open: dict[int, int] = {}
        self._fresh: list[float] = []  # single observations that are in no dict yet
        self._most_fresh = next(_fresh)
        self._top = LOWEST  # of the open slot

    def add(self, now_s: float, value: float, count: int = 1) -> None:
        """`count` observations of `value` seconds. Raises ValueError unless finite and at least 1."""
        if count < 1 or not -inf < value < inf:
            raise ValueError(f"{count} of {value} s; what never came is `add_missing`")
        if now_s >= self._second + 1:
            self._roll(now_s)
        self._n += count
        self._total += value * count
        if count == 1:
            self._fresh.append(value)
            if len(self._fresh) >= self._most_fresh:
                self._gather()
        else:
            self._take(bucket_of(value), count)
        if self._cache:
            self._cache.clear()

    def add_all(self, now_s: float, values: Sequence[float]) -> None:
        """An observation of each value. Raises ValueError, and adds none, unless all are finite."""
        if not values:
            return
        total = sum(values, self._total)
        if not -inf < total < inf:
            raise ValueError("one is not finite; what never came is `add_missing`")
        if now_s >= self._second + 1:
            self._roll(now_s)
        self._n += len(values)
        self._total = total
        self._fresh.extend(values)
        if len(self._fresh) >= self._most_fresh:
            self._gather()
        if self._cache:
            self._cache.clear()

    def _take(self, bucket: int, count: int) -> None:
        if bucket > self._top:
            self._top = bucket
        self._open[bucket] = self._open.get(bucket, 0) + count

    def _gather(self) -> None:
        """Before anybody looks at the buckets: a signal is read four times a second, and moves at each
        request, so that most need not be found a bucket one by one."""
        if self._fresh:
            counted = Counter(buckets_of(self._fresh))
            _add(counted, self._open)
            self._top = max(self._top, *counted)
            self._fresh.clear()

    def add_missing(self, now_s: float, count: int = 1) -> None:
        """Observations larger than any other: refused, or never answered."""
        self._roll(now_s)
        self._missing += count
        self._cache.clear()

    def counts(self, now_s: float, span_s: int) -> tuple[dict[int, int], int, int]:
        """Observations by bucket, their sum, and the missing: the arguments of `sketch.quantile`.

        The dict is the caller's to keep; adding such triples merges windows.
        """
        n, missing, _ = self._sums(now_s, span_s)
        self._gather()
        return self._together(self._spans[span_s]), n, missing

    def quantile(self, now_s: float, span_s: int, q: float) -> float | None:
        """Seconds; `inf` when it falls among the missing; None when the span is empty."""
        n, missing, _ = self._sums(now_s, span_s)
        key = (span_s, q)
        if key in self._cache:
            return self._cache[key]
        if len(self._cache) >= _CACHED_QUANTILES:
            self._cache.clear()
        self._gather()
        span = self._spans[span_s]
        counts = self._together(span)
        top = max(span.top, self._top)
        while top not in counts and top > LOWEST:
            top -= 1
        span.top = top
        value = self._cache[key] = quantile(counts, n, q, missing, top=top)
        return value

    def _together(self, span: _Span) -> dict[int, int]:
        """A span with the open slot, in a dict of its own."""
        counts = dict(span.counts)
        _add(self._open, counts)
        return counts

    def count(self, now_s: float, span_s: int) -> int:
        """All observations, the missing among them."""
        n, missing, _ = self._sums(now_s, span_s)
        return n + missing

    def total(self, now_s: float, span_s: int) -> float:
        """The sum of the values, in seconds. The missing have none."""
        return self._sums(now_s, span_s)[2]

    def mean(self, now_s: float, span_s: int) -> float | None:
        """Seconds, over the observations that have a value; None without any."""
        n, _, total = self._sums(now_s, span_s)
        return total / n if n else None

    def _sums(self, now_s: float, span_s: int) -> _Sums:
        if now_s >= self._second + 1:
            self._roll(now_s)
        slots = self._spans[span_s].slots
        n, missing, total = slots[0][2] if slots else self._opened
        return self._n - n, self._missing - missing, self._total - total

    def _roll(self, now_s: float) -> None:
        """Close the open slot when its second is over, and let go of what is too old."""
        second = int(now_s)
        if second <= self._second:
            return
        sums = (self._n, self._missing, self._total)
        if sums != self._opened:
            self._gather()
            slot = (self._second, dict(self._open), self._opened)
            for span in self._spans.values():
                span.take(slot, self._top)
            self._open.clear()
            self._opened, self._top = sums, LOWEST
        self._second = second
        for span in self._spans.values():
            span.leave(second - span.span_s)
        self._cache.clear()


class Tally:
    """How many of the requests of the last `span_s` seconds were bad."""

    def __init__(self, span_s: int) -> None:
        (self._span_s,) = _checked((span_s,))
        self._second = 0
        self._n = self._bad = 0
        self._marked = -1
        self._marks: deque[tuple[int, int, int]] = deque()  # second, then n and bad before it

    def add(self, now_s: float, bad: int, of: int = 1) -> None:
        """`bad` ones of so many."""
        if now_s >= self._second + 1:
            self._roll(now_s)
        if self._marked != self._second:  # nothing yet in this second
            self._marked = self._second
            self._marks.append((self._second, self._n, self._bad))
        self._n += of
        self._bad += bad

    def read(self, now_s: float) -> tuple[int, int]:
        """Requests, and the bad among them."""
        self._roll(now_s)
        if not self._marks:
            return 0, 0
        _, n, bad = self._marks[0]
        return self._n - n, self._bad - bad

    def clear(self) -> None:
        """Forget all: what was counted was the world before some change."""
        self._marks.clear()
        self._marked = -1

    def _roll(self, now_s: float) -> None:
        second = int(now_s)
        if second > self._second:
            self._second = second
            while self._marks and self._marks[0][0] <= second - self._span_s:
                self._marks.popleft()


class Rate:
    """Amounts (tokens, USD, requests) a second, over several spans at once."""

    def __init__(self, spans_s: tuple[int, ...] = SPANS_S) -> None:
        self._second = 0
        self._total = 0.0
        self._first_s = inf  # the earliest, in whichever order a second's amounts are told
        self._marked = -1
        # By span: seconds with arrivals, and the total before each.
        self._marks: dict[int, deque[tuple[int, float]]] = {s: deque() for s in _checked(spans_s)}

    def add(self, now_s: float, amount: float) -> None:
        """Raises ValueError unless `amount` is finite: one NaN would be in every sum to come."""
        if not -inf < amount < inf:
            raise ValueError(f"{amount} is no amount")
        if now_s >= self._second + 1:
            self._roll(now_s)
        if self._marked != self._second:  # nothing yet in this second
            self._marked = self._second
            for marks in self._marks.values():
                marks.append((self._second, self._total))
        if now_s < self._first_s:
            self._first_s = now_s
        self._total += amount

    def sum(self, now_s: float, span_s: int) -> float:
        self._roll(now_s)
        marks = self._marks[span_s]
        return self._total - marks[0][1] if marks else 0.0

    def per_second(self, now_s: float, span_s: int) -> float:
        """Divided by the time that the sum covers, so that it is not biased: since the start of the
        span's oldest second, or the first amount ever if that is later, but 1 s at least.
        """
        amount = self.sum(now_s, span_s)
        if self._first_s == inf:
            return 0.0
        start_s = max(self._first_s, self._second - span_s + 1)
        return amount / max(now_s - start_s, 1.0)

    def _roll(self, now_s: float) -> None:
        second = int(now_s)
        if second > self._second:
            self._second = second
            for span_s, marks in self._marks.items():
                while marks and marks[0][0] <= second - span_s:
                    marks.popleft()


def _add(more: Mapping[int, int], counts: dict[int, int]) -> None:
    for bucket, count in more.items():
        counts[bucket] = counts.get(bucket, 0) + count


def _checked(spans_s: tuple[int, ...]) -> tuple[int, ...]:
    """Raises ValueError for a span below 1 s, or for none at all."""
    if not spans_s or min(spans_s) < 1:
        raise ValueError(f"spans are whole seconds from 1 on, not {spans_s}")
    return spans_s
