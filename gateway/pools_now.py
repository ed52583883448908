"""What rules may ask about the pools, looked at when one does: nearly no request's decision gets that far."""

from collections.abc import Iterator, Mapping

from contracts.snapshot import PoolSignals
from gateway.pools import Pool


class PoolsNow(Mapping[str, PoolSignals]):
    """By a pool's id. Good for a decision, which is made without a pause; what is kept needs a copy."""

    def __init__(self, pools: Mapping[str, Pool]) -> None:
        self._pools = pools

    def __getitem__(self, pool: str) -> PoolSignals:
        return self._pools[pool].signals()

    def __iter__(self) -> Iterator[str]:
        return iter(self._pools)

    def __len__(self) -> int:
        return len(self._pools)
