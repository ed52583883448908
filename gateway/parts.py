"""What a gateway is built from where that differs: one process alone, or one of several that share limits.

Only which classes; what they do is theirs.
"""

from collections.abc import Callable
from dataclasses import dataclass

from contracts.catalog import Catalog
from gateway.budgets import Budgets
from gateway.pools import Pool
from policies.honour import Honour
from policies.loop import Loop
from policies.policy_set import PolicySet


def _own_honour(loop: Loop, pool: str) -> Honour:
    return Honour()


@dataclass(frozen=True)
class Parts:
    """Each is called as the class that it stands for; `honour` with the loop and a pool's id."""

    pool: Callable[..., Pool] = Pool
    loop: Callable[[PolicySet, Catalog, float], Loop] = Loop
    honour: Callable[[Loop, str], Honour] = _own_honour
    budgets: Callable[..., Budgets] = Budgets


ALONE = Parts()
"""One process that shares nothing."""
