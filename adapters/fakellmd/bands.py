"""The queues of flow control: a heap for each flow of each priority, and what they hold. Pure.

Room is held by everything inside, also by requests whose clients have left, until they surface or
are swept: that is how llm-d counts. Which flow is next is decided in `fairness`, when in
`flow_control`.
"""

from collections.abc import Callable, Iterator
from heapq import heapify, heappop, heappush

from adapters.fakellmd import ordering
from adapters.fakellmd.epp_settings import BandPolicy, EppSettings
from adapters.fakellmd.ordering import Item, Key

Heap = list[tuple[Key, Item]]


class Band:
    """Flows without requests are not kept."""

    def __init__(self, priority: int, policy: BandPolicy) -> None:
        self.priority = priority
        self.policy = policy
        self.flows: dict[str, Heap] = {}
        self.requests = 0
        self.bytes = 0

    def has_room(self, body_bytes: int) -> bool:
        policy = self.policy
        if policy.max_bytes and self.bytes + body_bytes > policy.max_bytes:
            return False
        return not policy.max_requests or self.requests < policy.max_requests

    def push(self, item: Item) -> None:
        heap = self.flows.setdefault(item.ask.flow, [])
        heappush(heap, (ordering.key(self.policy.ordering, item), item))
        self.requests += 1
        self.bytes += item.ask.body_bytes

    def head(self, flow: str) -> tuple[Key, Item]:
        """Who is first in a flow that has requests. Raises KeyError for any other."""
        return self.flows[flow][0]

    def pop(self, flow: str) -> Item:
        """Take who is first in a flow that has requests. Raises KeyError for any other."""
        heap = self.flows[flow]
        item = heappop(heap)[1]
        if not heap:
            del self.flows[flow]
        self._left(item)
        return item

    def sweep(self, over: Callable[[Item], bool]) -> list[Item]:
        """Take out everything that is `over`, in the order of arrival."""
        swept: list[Item] = []
        for flow, heap in list(self.flows.items()):
            out = [item for _, item in heap if over(item)]
            if not out:
                continue
            kept = [entry for entry in heap if not over(entry[1])]
            heapify(kept)
            if kept:
                self.flows[flow] = kept
            else:
                del self.flows[flow]
            swept += out
        for item in swept:
            self._left(item)
        return sorted(swept, key=lambda item: item.order)

    def reconfigure(self, policy: BandPolicy) -> None:
        """Another policy; nobody is thrown out, those who wait are ordered anew."""
        self.policy = policy
        for heap in self.flows.values():
            heap[:] = [(ordering.key(policy.ordering, item), item) for _, item in heap]
            heapify(heap)

    def _left(self, item: Item) -> None:
        self.requests -= 1
        self.bytes -= item.ask.body_bytes


class Bands:
    """All priorities, highest first. A band that the settings no longer name stays until it is empty."""

    def __init__(self, settings: EppSettings) -> None:
        self._bands: dict[int, Band] = {}
        self.reconfigure(settings)

    def __iter__(self) -> Iterator[Band]:
        return iter(self._bands.values())

    def __getitem__(self, priority: int) -> Band:
        return self._bands[priority]

    def __len__(self) -> int:
        return len(self._bands)

    @property
    def priorities(self) -> list[int]:
        return list(self._bands)

    @property
    def requests(self) -> int:
        return sum(band.requests for band in self)

    def has_room(self, priority: int, body_bytes: int) -> bool:
        """Both in the band and over all of them."""
        settings = self._settings
        if settings.max_requests and self.requests >= settings.max_requests:
            return False
        held = sum(band.bytes for band in self) + body_bytes
        if settings.max_bytes and held > settings.max_bytes:
            return False
        return self._bands[priority].has_room(body_bytes)

    def reconfigure(self, settings: EppSettings) -> None:
        self._settings = settings
        old = self._bands
        held = {priority for priority, band in old.items() if band.requests}
        self._bands = {}
        for priority in sorted(held | set(settings.priorities()), reverse=True):
            policy = settings.band_policy(priority)
            band = old.get(priority) or Band(priority, policy)
            band.reconfigure(policy)
            self._bands[priority] = band
