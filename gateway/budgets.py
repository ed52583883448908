"""Who may still use how much: the budget of each caller, held while a request runs and settled at its end.

Between the configuration and `policies.budget`, which counts. Must stay true: a budget belongs to a name,
however many tokens or proxies lead to it; the operator and anonymous callers have none; what is kept is
bounded, whatever names a proxy brings. All of it is in memory: a restart begins with full budgets.
"""

import itertools
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

import msgspec

from contracts.catalog import Catalog
from contracts.config import BudgetEntry
from contracts.decision import Decision
from contracts.errors import RETRY_AFTER_MAX_S, BudgetExceeded, GatewayError
from contracts.inference import InferRequest, RequestFacts
from gateway import logs
from gateway.attempt import expected_choices
from gateway.auth import OPERATOR
from gateway.flight_recorder import CLIENT_GONE
from gateway.metrics import Metrics
from gateway.progress import Progress
from gateway.ratelimit_headers import RatelimitHeaders, go_duration
from gateway.settings import Caller
from policies.answer_length import AnswerLength
from policies.budget import NOTHING, ONE, Allowance, Budget, Claim, Refused, Reservation
from policies.budget_limit import PICODOLLARS, BudgetLimit, picodollars, spelled
from policies.terms import UNKNOWN, ModelTerms, Terms, terms_of
from policies.usage_window import Moment

KEPT_CALLERS = 10_000
"""Names with a budget that are not in the configuration. Where so many have used some of theirs and not
got it back yet, further ones share one budget: nobody gets a new one by taking a new name."""
LOOKED_AT = 8
"""Of those that were silent for longest, how many are looked at for each new name, to be forgotten."""
MODELS_TOLD = 64
OTHER = "other"
"""What callers that are not in the configuration are called together in the metrics."""


class Account:
    """One caller's."""

    __slots__ = (
        "budget",
        "counts_cost",
        "counts_use",
        "estimated",
        "headers",
        "label",
        "length",
        "unpriced",
    )

    def __init__(
        self, limits: tuple[BudgetLimit, ...], label: str, allowances: Sequence[Allowance] = ()
    ) -> None:
        self.budget = Budget(limits, allowances)
        self.headers = RatelimitHeaders(limits)
        self.counts_cost = any(limit.kind == "cost" for limit in limits)
        self.counts_use = any(limit.kind != "requests" for limit in limits)
        self.length = AnswerLength()
        self.label = label
        self.unpriced = 0
        """Requests that a limit of money could not count."""
        self.estimated = 0
        """Requests that limits of tokens or money count by an estimate."""

    def claim(self, facts: RequestFacts, decision: Decision, terms: Terms, choices: int) -> Claim:
        """What a request for so many answers may use. An answer without a limit is guessed at by what this
        caller usually gets."""
        prompt, answer, guess = facts.prompt_tokens, 0, 0
        if facts.operation != "embedding":
            limit = decision.shaping.max_tokens or facts.max_tokens
            if limit is None:
                guess = self.length.expected_tokens * choices
            else:
                if terms.context is not None and limit > terms.context - prompt:
                    limit = max(terms.context - prompt, 1)
                answer = limit * choices
        money = NOTHING
        if self.counts_cost:
            assumed = terms.cost(0, guess) if guess else 0
            money = (terms.cost(prompt, answer) or 0, assumed or 0)
        return (ONE, (prompt + answer, guess), money)


class BudgetHold(msgspec.Struct):
    """One request's part of its caller's budget, from its decision to its end."""

    account: Account
    reservation: Reservation
    facts: RequestFacts
    choices: int
    """How many answers it asks for."""
    terms: ModelTerms
    """Of the catalogue that it was decided with."""
    wall_clock: Callable[[], float]

    def close(
        self,
        status: int,
        error: GatewayError | None,
        progress: Progress,
        generated_tokens: int,
        now_s: float,
    ) -> None:
        """It has ended now, on the gateway's clock. Only the first call counts.

        What its client was given counts: by the backend's usage, else by `generated_tokens` and the
        estimate of its prompt. Where the client has got nothing, nothing counts; unless it was the client
        that left after an engine had begun to read its prompt.
        """
        account, facts = self.account, self.facts
        answered = progress.first_token_s is not None and (
            error is None or error is progress.fault or status == CLIENT_GONE
        )
        left_early = status == CLIENT_GONE and progress.dispatched_s is not None
        if not answered and not left_early:
            account.budget.release(self.reservation)
            return
        usage, target = progress.usage, progress.target
        prompt_tokens = usage.prompt_tokens if usage else facts.prompt_tokens
        tokens = usage.completion_tokens if usage else generated_tokens if answered else 0
        cost = None
        if account.counts_cost:
            terms = self.terms[target.model] if target else UNKNOWN
            cost = terms.cost(prompt_tokens, tokens, usage)
            account.unpriced += cost is None
        if account.counts_use and (usage is None or usage.estimated):
            account.estimated += 1
        if error is None and status != CLIENT_GONE and facts.operation != "embedding":
            account.length.learn(tokens, self.choices)
        now = Moment(now_s, self.wall_clock())
        account.budget.settle(self.reservation, tokens=prompt_tokens + tokens, cost=cost, now=now)


Reserved = BudgetHold | BudgetExceeded | None
"""What a request has of its caller's budget, or why nothing; None: there is none."""


class Budgets:
    """All callers'. `clock` is monotonic, `wall_clock` a Unix time."""

    def __init__(
        self,
        callers: Iterable[Caller],
        default: Sequence[BudgetEntry],
        *,
        metrics: Metrics,
        clock: Callable[[], float],
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._clock, self._wall_clock = clock, wall_clock
        self._metrics = metrics
        self._default = _limits(default)
        self._configured: dict[str, Account | None] = {"": None, OPERATOR: None}
        """None: it has no budget."""
        for caller in callers:
            limits = self._default if caller.budget is None else _limits(caller.budget)
            self._configured[caller.name] = (
                self._open(caller.name, limits, caller.name) if limits else None
            )
        self._others: OrderedDict[str, Account] = OrderedDict()
        """By when they last came."""
        self._shared = self._open("", self._default, OTHER)
        self._untouched = Account(self._default, OTHER)
        self._told: set[str] = set()
        self._catalog: Catalog | None = None
        self._terms = ModelTerms()
        """Of that catalogue."""
        self.any = bool(self._default) or any(self._configured.values())
        """Whether any caller can have one."""
        metrics.before_scrape(self._show)

    def now(self) -> Moment:
        return Moment(self._clock(), self._wall_clock())

    def reserve(
        self, infer: InferRequest, decision: Decision, catalog: Catalog
    ) -> Reserved | Awaitable[Reserved]:
        """Room for what was decided, to be `close`d at its end; the error to answer with where there is
        none; None where its caller has no budget. Only budgets that several processes share may have to be
        awaited."""
        facts, known = infer.facts, self._configured
        name = facts.key
        account = known[name] if name in known else self._other(name)
        if account is None:
            return None
        if catalog is not self._catalog:
            self._adopt(catalog)
        model, choices = decision.shaping.model, expected_choices(infer)
        terms = self._terms[model]
        if account.counts_cost and terms.prompt is None:
            self._tell_of(model)
        claim = account.claim(facts, decision, terms, choices)
        found = account.budget.reserve(claim, Moment(self._clock(), self._wall_clock()))
        if isinstance(found, Refused):
            label = found.limit.label
            self._metrics.counter("setpoint_budget_refusals_total", account.label, label).inc()
            return _exceeded(found)
        return BudgetHold(account, found, facts, choices, self._terms, self._wall_clock)

    def left(self, caller: str) -> dict[str, Any] | None:
        """What is left, by the words for each limit: `{"60 requests per 1m": {"limit": 60, "remaining":
        59, "reset_s": 12.0}}`, money in USD. None: there is no budget.

        `unpriced_requests` is there where money is limited and some requests had no price: what those
        cost is unknown, and not in the figures. `estimated_requests` is there where some are in the figures
        by the gateway's own estimate: their engines did not count, or their clients left before.
        """
        known = self._configured
        account = known[caller] if caller in known else self._seen(caller)
        if account is None:
            return None
        told: dict[str, Any] = {}
        for standing in account.budget.standings(self.now()):
            unit = PICODOLLARS if standing.limit.kind == "cost" else 1
            told[standing.limit.label] = {
                "limit": standing.limit.amount / unit if unit > 1 else standing.limit.amount,
                "remaining": standing.remaining / unit if unit > 1 else standing.remaining,
                "reset_s": round(standing.reset_s, 3),
            }
        if account.unpriced:
            told["unpriced_requests"] = account.unpriced
        if account.estimated:
            told["estimated_requests"] = account.estimated
        return told

    def lines(self, caller: str) -> str:
        """The same as lines of an answer's head; none where there is no budget."""
        known = self._configured
        account = known[caller] if caller in known else self._seen(caller)
        if account is None:
            return ""
        uses = account.budget.uses(Moment(self._clock(), self._wall_clock()))
        lines = account.headers.lines(uses)
        if account.unpriced:
            lines += f"x-setpoint-budget-unpriced-requests: {account.unpriced}\r\n"
        if account.estimated:
            lines += f"x-setpoint-budget-estimated-requests: {account.estimated}\r\n"
        return lines

    def _adopt(self, catalog: Catalog) -> None:
        """Another catalogue: now and then, when models come or go."""
        self._catalog, self._terms = catalog, terms_of(catalog)

    # -- accounts -----------------------------------------------------------------------

    def _other(self, name: str) -> Account | None:
        """The one to count on, of a name that is not in the configuration."""
        if not self._default:
            return None
        account = self._others.get(name)
        if account is not None:
            self._others.move_to_end(name)
            return account
        now = self.now()
        for other in list(itertools.islice(self._others, LOOKED_AT)):
            if self._others[other].budget.idle(now):
                del self._others[other]
                self._closed(other)
        if len(self._others) >= KEPT_CALLERS:
            return self._shared
        account = self._others[name] = self._open(name, self._default, OTHER)
        return account

    def _open(self, name: str, limits: tuple[BudgetLimit, ...], label: str) -> Account:
        """A new one; "" is the one that names beyond the bound share."""
        return Account(limits, label)

    def _closed(self, name: str) -> None:
        """The account of a name that only a proxy knows is forgotten."""

    def _seen(self, name: str) -> Account | None:
        """The one to look at, of such a name: who only looks is not remembered."""
        if not self._default:
            return None
        account = self._others.get(name)
        if account is not None:
            return account
        return self._shared if len(self._others) >= KEPT_CALLERS else self._untouched

    def _tell_of(self, model: str) -> None:
        if model not in self._told and len(self._told) < MODELS_TOLD:
            self._told.add(model)
            hint = "give it a price in models, or its requests are not counted in budgets of money"
            logs.event(logging.WARNING, "budget_without_price", model=model, hint=hint)

    def _show(self) -> None:
        now = self.now()
        for account in filter(None, self._configured.values()):
            for standing in account.budget.standings(now):
                labels = (account.label, standing.limit.label)
                used = standing.used / standing.limit.amount
                self._metrics.gauge("setpoint_budget_used_ratio", *labels).set(used)


def _limits(entries: Sequence[BudgetEntry]) -> tuple[BudgetLimit, ...]:
    return tuple(map(_limit, entries))


def _limit(entry: BudgetEntry) -> BudgetLimit:
    day, per_s = entry.per.calendar_day, float(entry.per)
    if entry.requests is not None:
        return BudgetLimit(kind="requests", amount=entry.requests, per_s=per_s, calendar_day=day)
    if entry.tokens is not None:
        return BudgetLimit(kind="tokens", amount=entry.tokens, per_s=per_s, calendar_day=day)
    amount = picodollars(float(entry.cost or 0))
    return BudgetLimit(kind="cost", amount=amount, per_s=per_s, calendar_day=day)


def _exceeded(refused: Refused) -> BudgetExceeded:
    limit, wait_s = refused.limit, refused.retry_after_s
    budget = f"the budget of {limit.label}{' (UTC)' if limit.calendar_day else ''}"
    match refused.why:
        case "used":
            message = (
                f"{budget} is used up: there is room for this request in {go_duration(wait_s or 0)}"
            )
        case "under_way":
            message = (
                f"the rest of {budget} is held by requests under way: repeat when one has ended"
            )
        case "too_large":
            asked = spelled(limit.kind, refused.asked)
            message = (
                f"this request may use {asked}, and {budget} is less: "
                "shorten the prompt, or ask for fewer max_tokens"
            )
    error = BudgetExceeded(message, retry_after_s=wait_s, policy_label=limit.label)
    error.retriable = refused.why != "too_large" and (wait_s or 0) <= RETRY_AFTER_MAX_S
    return error
