"""Budgets as one of several workers has them: of each limit a part, lent by the hub, and more when it is used.

A worker keeps a portion ready, so that it asks once in many requests; only when a limit is nearly used up
does a request wait for the hub, and then for what others have and do not need. Must stay true: a claim is
booked only within what was lent here; what was lent to all is never more than the limit.
"""

from collections.abc import Awaitable
from typing import Any

from contracts.catalog import Catalog
from contracts.decision import Decision
from contracts.errors import BudgetExceeded
from contracts.inference import InferRequest
from gateway.attempt import expected_choices
from gateway.budgets import Account, BudgetHold, Budgets, Reserved
from gateway.workers.borrower import Borrower, Lot
from gateway.workers.messages import DAY, BudgetUse
from policies.budget import Allowance
from policies.budget_limit import BudgetLimit
from policies.shares import Need
from policies.usage_window import SLOTS, Moment

PORTION = 16
"""The part of a limit, one in so many, that a worker keeps ready."""
ACTIVE_S = 2.0
"""How long after its last request a caller's portion is kept."""
DRY_S = 0.05
"""How long it is believed that no more can be had."""
TOLD = 1000
"""Limits whose use is told to the others, of those that were active last."""
FEW = 100
"""Callers whose use is told with each report; of more, with every tenth."""


class _Part:
    """This worker's part of one limit of one caller."""

    def __init__(self, budgets: "SharedBudgets", account: "_Shared", index: int) -> None:
        limit = account.limits[index]
        self.allowance = Allowance()
        self._asked = 0
        """What is missing for claims that wait."""
        self._dry_until_s = 0.0
        self._claim = 0
        """The largest claim lately; it fades."""
        self._budgets, self._account, self._index = budgets, account, index
        self._amount = limit.amount
        self.lot = Lot(
            f"budget:{index}:{account.name}",
            used=self._used,
            need=self._need,
            on_change=self._changed,
            total=limit.amount,
            window_s=DAY if limit.calendar_day else limit.per_s * (SLOTS + 1) / SLOTS,
        )

    @property
    def portion(self) -> int:
        """What is kept ready: a part of the limit, or two claims where those are larger."""
        return max(self._amount // PORTION, min(2 * self._claim, self._amount // 2), 1)

    def claimed(self, units: int) -> None:
        """A request would take so many, if it could."""
        self._claim = max(units, self._claim * 15 // 16)

    def may_have_more(self, units: int, now_s: float) -> bool:
        """Whether to ask is worth it: not for what is more than there is, nor right after it was in vain."""
        return now_s >= self._dry_until_s and units <= self._amount

    async def ask(self, borrower: Borrower, units: int) -> None:
        """Have the hub lend what a claim lacks, as far as it can."""
        self._asked += units
        try:
            await borrower.ask(self.lot)
        finally:
            self._asked -= units
        if self._used() + units > self.allowance.units:
            self._dry_until_s = self._budgets.now().monotonic_s + DRY_S

    def _used(self) -> int:
        return self._account.account.budget.occupied(self._budgets.now())[self._index]

    def _need(self) -> Need:
        used = self._used() + self._asked
        spare = self.portion if self._account.active() else 0
        return Need(bands={0: used} if used else {}, spare=spare)

    def _changed(self) -> None:
        self.allowance.units = self.lot.usable


class _Shared:
    """One caller's account, and its parts."""

    def __init__(
        self, budgets: "SharedBudgets", name: str, limits: tuple[BudgetLimit, ...], label: str
    ) -> None:
        self.name, self.limits = name, limits
        self._budgets = budgets
        self.active_s = float("-inf")
        self.parts = [_Part(budgets, self, index) for index in range(len(limits))]
        self.account = Account(limits, label, [part.allowance for part in self.parts])

    def active(self) -> bool:
        return self._budgets.now().monotonic_s - self.active_s < ACTIVE_S


class SharedBudgets(Budgets):
    """Built as `Budgets` is; `join` it before the first request."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self._borrower: Borrower | None = None
        self._accounts: dict[str, _Shared] = {}
        self._reports = 0
        self._told_last: dict[str, BudgetUse] = {}
        super().__init__(*args, **options)

    def join(self, borrower: Borrower) -> None:
        """Share from now on."""
        self._borrower = borrower
        for shared in self._accounts.values():
            for part in shared.parts:
                borrower.open(part.lot)

    def reserve(
        self, infer: InferRequest, decision: Decision, catalog: Catalog
    ) -> Reserved | Awaitable[Reserved]:
        """As alone; to be awaited where there is too little here and the hub may have more. (A guess at an
        answer takes what is free, and that is what is free of the whole.)"""
        shared = self._of(infer.facts.key)
        if shared is None or self._borrower is None:
            return super().reserve(infer, decision, catalog)
        now = self.now()
        shared.active_s = now.monotonic_s
        short = self._short(shared, infer, decision, catalog, now)
        if short and any(part.may_have_more(units, now.monotonic_s) for part, units in short):
            return self._fetch(self._borrower, short, infer, decision, catalog)
        return self._reserve_here(self._borrower, shared, infer, decision, catalog)

    async def _fetch(
        self,
        borrower: Borrower,
        short: list[tuple[_Part, int]],
        infer: InferRequest,
        decision: Decision,
        catalog: Catalog,
    ) -> Reserved:
        """Get what the claim lacks, as far as others can spare it."""
        for part, units in short:
            if part.may_have_more(units, self.now().monotonic_s):
                await part.ask(borrower, units)
        shared = self._of(
            infer.facts.key
        )  # a name that only a proxy knows may have been forgotten meanwhile
        assert shared is not None
        return self._reserve_here(borrower, shared, infer, decision, catalog)

    def _reserve_here(
        self,
        borrower: Borrower,
        shared: "_Shared",
        infer: InferRequest,
        decision: Decision,
        catalog: Catalog,
    ) -> Reserved:
        """Of what is here now, or not at all."""
        found = super().reserve(infer, decision, catalog)
        assert found is None or isinstance(found, BudgetHold | BudgetExceeded)
        occupied = shared.account.budget.occupied(self.now())
        for part, used in zip(shared.parts, occupied, strict=True):
            if 2 * (part.allowance.units - used) < part.portion:
                borrower.poke(part.lot)  # before it is needed
        return found

    def _short(
        self,
        shared: "_Shared",
        infer: InferRequest,
        decision: Decision,
        catalog: Catalog,
        now: Moment,
    ) -> list[tuple[_Part, int]]:
        """The limits of which there is not enough here for a request, and what it would take."""
        if catalog is not self._catalog:
            self._adopt(catalog)
        terms, account = self._terms[decision.shaping.model], shared.account
        claim = account.claim(infer.facts, decision, terms, expected_choices(infer))
        wanted, occupied = account.budget.wanted(claim), account.budget.occupied(now)
        short = []
        for part, units, used in zip(shared.parts, wanted, occupied, strict=True):
            part.claimed(units)
            if used + units > part.allowance.units:
                short.append((part, units))
        return short

    def uses(self) -> dict[str, BudgetUse]:
        """What is used and held here of what, for the others to show."""
        self._reports += 1
        if len(self._accounts) > FEW and self._reports % 10:
            return self._told_last
        now = self.now()
        told: dict[str, BudgetUse] = {}
        for shared in sorted(self._accounts.values(), key=lambda s: -s.active_s):
            if len(told) >= TOLD:
                break
            budget = shared.account.budget
            uses = zip(shared.parts, budget.occupied(now), budget.empties_s(now), strict=True)
            for part, units, empties_s in uses:
                if units:
                    told[part.lot.key[0]] = BudgetUse(units, now.monotonic_s + empties_s)
        self._told_last = told
        return told

    def look_at(self, uses: dict[str, dict[int, BudgetUse]], me: int) -> None:
        """What is used by whom."""
        for shared in self._accounts.values():
            for part in shared.parts:
                others = [
                    use for worker, use in uses.get(part.lot.key[0], {}).items() if worker != me
                ]
                part.allowance.elsewhere = sum(use.units for use in others)
                part.allowance.empty_at_s = max((use.empty_at_s for use in others), default=0.0)

    # -- accounts ---------------------------------------------------------------------------

    def _of(self, caller: str) -> _Shared | None:
        known = self._configured
        account = known[caller] if caller in known else self._other(caller)
        if account is None:
            return None
        return self._accounts["" if account is self._shared else caller]

    def _open(self, name: str, limits: tuple[BudgetLimit, ...], label: str) -> Account:
        shared = self._accounts[name] = _Shared(self, name, limits, label)
        if self._borrower is not None:
            for part in shared.parts:
                self._borrower.open(part.lot)
        return shared.account

    def _closed(self, name: str) -> None:
        shared = self._accounts.pop(name)
        if self._borrower is not None:
            for part in shared.parts:
                self._borrower.close(part.lot)
