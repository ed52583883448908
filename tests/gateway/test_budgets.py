"""Budgets of callers: who has one, what a request takes from it, and what its client is told."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from contracts.catalog import Catalog, ModelCard
from contracts.config import BudgetEntry
from contracts.decision import Decision, Shaping
from contracts.errors import BudgetExceeded
from contracts.events import Usage
from contracts.inference import Constraints, InferRequest, RequestFacts, Target
from contracts.quantities import Money, Period
from gateway import budgets as module
from gateway.budgets import BudgetHold, Budgets
from gateway.head_lines import read
from gateway.metrics import Metrics
from gateway.progress import Progress
from gateway.secrets import SecretValue
from gateway.settings import Caller
from policies.answer_length import START_TOKENS
from policies.price import cost_usd
from policies.terms import terms_of
from tests.fakes.edge import Answer, Edge, chat_body, eventually, request
from tests.fakes.fates import Fates
from tests.fakes.scripted_engine import Call, ScriptedEngine, hangs_up, is_silent, refuses, says

pytestmark = pytest.mark.req("ADM-6")
MakeEdge = Callable[..., Awaitable[Edge]]
CATALOG = Catalog(
    models={
        "priced": ModelCard(
            name="priced", pool="p", upstream="u", input_price=1.0, output_price=4.0, context=8000
        ),
        "unpriced": ModelCard(name="unpriced", pool="p", upstream="u"),
    }
)


def entry(kind: str, amount: float, per: str = "1m") -> BudgetEntry:
    value = Money(amount) if kind == "cost" else int(amount)
    return BudgetEntry(**{kind: value}, per=Period.parse(per))


class Scene:
    """Budgets on clocks that the test sets."""

    def __init__(self, *default: BudgetEntry, **callers: list[BudgetEntry] | None) -> None:
        self.now_s, self.unix_s = 0.0, 1_000_000_000.0
        self.catalog = CATALOG
        self.metrics = Metrics("test")
        named = [
            Caller(
                name=name,
                token=SecretValue(f"token-{name}"),
                intent=None,
                weight=1.0,
                budget=None if budget is None else tuple(budget),
            )
            for name, budget in callers.items()
        ]
        self.budgets = Budgets(
            named,
            default,
            metrics=self.metrics,
            clock=lambda: self.now_s,
            wall_clock=lambda: self.unix_s + self.now_s,
        )

    def ask(
        self, key: str = "web", *, model: str = "priced", shaped: int | None = None, **facts: Any
    ) -> BudgetHold | BudgetExceeded | None:
        facts = {"operation": "chat", "prompt_tokens": 10, "max_tokens": 20, **facts}
        infer = InferRequest(
            request_id="r",
            operation=facts["operation"],
            members={},
            facts=RequestFacts(model=model, key=key, **facts),
        )
        decision = Decision(
            intent="i",
            shaping=Shaping(model=model, max_tokens=shaped),
            models=(model,),
            constraints=Constraints(),
        )
        found = self.budgets.reserve(infer, decision, self.catalog)
        assert found is None or isinstance(found, BudgetHold | BudgetExceeded)
        return found

    def held(self, key: str = "web", **asked: Any) -> BudgetHold:
        found = self.ask(key, **asked)
        assert isinstance(found, BudgetHold)
        return found

    def refused(self, key: str = "web", **asked: Any) -> BudgetExceeded:
        found = self.ask(key, **asked)
        assert isinstance(found, BudgetExceeded)
        return found

    def remaining(self, key: str = "web") -> dict[str, Any]:
        left = self.budgets.left(key)
        assert left is not None
        return {label: one["remaining"] for label, one in left.items() if isinstance(one, dict)}


def answered(prompt: int = 10, tokens: int = 5, *, model: str = "priced") -> Progress:
    return Progress(
        accepted_s=0.0,
        target=Target(model=model, pool="p", upstream="u"),
        dispatched_s=0.0,
        first_token_s=0.1,
        usage=Usage(prompt_tokens=prompt, completion_tokens=tokens),
    )


# -- whose --------------------------------------------------------------------------------


def test_the_operator_and_who_has_no_name_have_no_budget() -> None:
    scene = Scene(entry("requests", 1))
    for name in ("", "operator"):
        assert scene.ask(name) is None
        assert scene.budgets.left(name) is None
        assert read(scene.budgets.lines(name)) == {}


def test_a_caller_has_its_own_budget_or_the_default_or_none_at_all() -> None:
    scene = Scene(entry("requests", 9), web=[entry("requests", 1)], batch=None, free=[])
    assert scene.remaining("web") == {"1 request per 1m": 1}
    assert scene.remaining("batch") == {"9 requests per 1m": 9}
    assert scene.budgets.left("free") is None
    assert scene.remaining("whom a proxy names") == {"9 requests per 1m": 9}


def test_without_any_budget_nothing_is_kept() -> None:
    scene = Scene(web=None, batch=[])
    assert not scene.budgets.any
    assert scene.ask("web") is None
    assert scene.ask("whom a proxy names") is None


def test_one_callers_use_is_not_anothers() -> None:
    scene = Scene(entry("requests", 1), web=None, batch=None)
    scene.held("web")
    scene.refused("web")
    scene.held("batch")


def test_names_that_a_proxy_brings_are_forgotten_once_nothing_of_theirs_is_used() -> None:
    scene = Scene(entry("requests", 5))
    for number in range(50):
        scene.held(f"user-{number}").close(200, None, answered(), 0, scene.now_s)
        scene.now_s += 70
    assert len(scene.budgets._others) <= 2


def test_who_comes_again_and_again_keeps_nobody_else_from_being_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "KEPT_CALLERS", 20)
    scene = Scene(entry("requests", 100))
    for number in range(100):
        for name in [f"regular-{n}" for n in range(module.LOOKED_AT)] + [f"once-{number}"]:
            scene.held(name).close(200, None, answered(), 0, scene.now_s)
        scene.now_s += 10
    assert scene.remaining("another") == {"100 requests per 1m": 100}


def test_looking_at_a_budget_remembers_nobody() -> None:
    scene = Scene(entry("requests", 5))
    for number in range(50):
        read(scene.budgets.lines(f"user-{number}"))
        scene.budgets.left(f"user-{number}")
    assert not scene.budgets._others


def test_nobody_gets_a_new_budget_by_taking_ever_new_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "KEPT_CALLERS", 10)
    scene = Scene(entry("requests", 2, "day"))
    let_in = sum(isinstance(scene.ask(f"user-{number}"), BudgetHold) for number in range(100))
    assert let_in == 10 + 2
    assert len(scene.budgets._others) == 10
    scene.held("user-3")
    assert scene.remaining("user-3") == {"2 requests per day": 0}
    assert scene.remaining("a new one") == {"2 requests per day": 0}


# -- what a request takes -----------------------------------------------------------------


def test_a_request_holds_its_prompt_and_what_it_asked_for_until_its_usage_is_known() -> None:
    scene = Scene(web=[entry("requests", 5), entry("tokens", 1000), entry("cost", 0.01)])
    hold = scene.held(prompt_tokens=100, max_tokens=200)
    labels = ("5 requests per 1m", "1000 tokens per 1m", "0.01 USD per 1m")
    assert scene.remaining() == dict(zip(labels, (4, 700, 0.01 - 900e-6), strict=True))
    hold.close(200, None, answered(90, 10), 0, scene.now_s)
    assert scene.remaining() == dict(zip(labels, (4, 900, 0.01 - 130e-6), strict=True))


@pytest.mark.parametrize(
    ("asked", "held"),
    [
        ({"max_tokens": 20}, 30),
        ({"max_tokens": 20, "shaped": 7}, 17),
        ({"max_tokens": None, "shaped": 7}, 17),
        ({"max_tokens": 20, "n": 3}, 70),
        ({"max_tokens": None}, 10 + START_TOKENS),
        ({"max_tokens": None, "n": 2}, 10 + 2 * START_TOKENS),
        ({"max_tokens": 100_000}, 8000),
        ({"max_tokens": 100_000, "model": "unpriced"}, 100_010),
        ({"operation": "embedding", "max_tokens": None}, 10),
    ],
)
def test_what_an_answer_may_take(asked: dict[str, Any], held: int) -> None:
    scene = Scene(web=[entry("tokens", 1_000_000)])
    scene.held(**asked)
    assert scene.remaining() == {"1000000 tokens per 1m": 1_000_000 - held}


def test_an_answer_without_a_limit_is_guessed_by_what_its_caller_usually_gets() -> None:
    scene = Scene(web=[entry("tokens", 1_000_000, "1h")])
    for _ in range(60):
        scene.held(max_tokens=None).close(200, None, answered(10, 40), 0, scene.now_s)
    before = scene.remaining()["1000000 tokens per 1h"]
    scene.held(max_tokens=None)
    assert before - scene.remaining()["1000000 tokens per 1h"] == pytest.approx(50, abs=1)


def test_a_broken_stream_counts_as_far_as_its_client_got() -> None:
    scene = Scene(web=[entry("tokens", 1000)])
    progress = answered()
    progress.usage = None
    progress.fault = fault = BudgetExceeded("stands for any fault")
    scene.held(prompt_tokens=100, max_tokens=500).close(200, fault, progress, 7, scene.now_s)
    assert scene.remaining() == {"1000 tokens per 1m": 893}


def test_a_client_that_leaves_has_used_what_was_generated_for_it() -> None:
    scene = Scene(web=[entry("tokens", 1000)])
    progress = answered()
    progress.usage = None
    scene.held(prompt_tokens=100, max_tokens=500).close(499, None, progress, 7, scene.now_s)
    assert scene.remaining() == {"1000 tokens per 1m": 893}


def test_a_client_that_leaves_while_its_prompt_is_read_has_used_the_prompt() -> None:
    scene = Scene(web=[entry("requests", 5), entry("tokens", 1000)])
    reading = Progress(accepted_s=0.0, dispatched_s=1.0)
    scene.held(prompt_tokens=100, max_tokens=500).close(499, None, reading, 0, scene.now_s)
    assert scene.remaining() == {"5 requests per 1m": 4, "1000 tokens per 1m": 900}


def test_a_client_that_leaves_the_queue_has_used_nothing() -> None:
    scene = Scene(web=[entry("requests", 5), entry("tokens", 1000)])
    scene.held(prompt_tokens=100).close(499, None, Progress(accepted_s=0.0), 0, scene.now_s)
    assert scene.remaining() == {"5 requests per 1m": 5, "1000 tokens per 1m": 1000}


def test_what_failed_before_its_client_had_anything_counts_for_nothing() -> None:
    scene = Scene(web=[entry("requests", 5), entry("tokens", 1000)])
    error = BudgetExceeded("stands for any error")
    for progress in (Progress(accepted_s=0.0, dispatched_s=1.0), answered()):
        scene.held(prompt_tokens=100).close(502, error, progress, 3, scene.now_s)
        assert scene.remaining() == {"5 requests per 1m": 5, "1000 tokens per 1m": 1000}


def test_a_request_is_settled_once() -> None:
    scene = Scene(web=[entry("tokens", 1000)])
    hold = scene.held()
    for _ in range(3):
        hold.close(200, None, answered(10, 5), 0, scene.now_s)
        hold.close(502, BudgetExceeded("no"), Progress(accepted_s=0.0), 0, scene.now_s)
    assert scene.remaining() == {"1000 tokens per 1m": 985}


def test_an_unknown_price_is_not_nothing(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene(web=[entry("cost", 1, "day")])
    for _ in range(3):
        scene.held(model="unpriced").close(200, None, answered(model="unpriced"), 0, scene.now_s)
    scene.held().close(200, None, answered(100, 100), 0, scene.now_s)
    left = scene.budgets.left("web")
    assert left is not None
    assert left["unpriced_requests"] == 3
    assert left["1 USD per day"]["remaining"] == pytest.approx(1 - 500e-6)
    assert read(scene.budgets.lines("web"))["x-setpoint-budget-unpriced-requests"] == "3"
    told = [r for r in caplog.records if r.getMessage() == "budget_without_price"]
    assert [r.fields["model"] for r in told] == ["unpriced"]  # type: ignore[attr-defined]
    assert told[0].levelno == logging.WARNING


def test_what_is_counted_by_an_estimate_is_told_apart() -> None:
    scene = Scene(web=[entry("tokens", 1000), entry("cost", 1)], few=[entry("requests", 9)])
    counted = answered(100, 100)
    scene.held().close(200, None, counted, 0, scene.now_s)
    left = scene.budgets.left("web")
    assert left is not None
    assert "estimated_requests" not in left
    guessed = answered(100, 100)
    guessed.usage = Usage(prompt_tokens=100, completion_tokens=100, estimated=True)
    scene.held().close(200, None, guessed, 0, scene.now_s)
    silent = answered()
    silent.usage = None
    scene.held(prompt_tokens=100).close(499, None, silent, 100, scene.now_s)
    left = scene.budgets.left("web")
    assert left is not None
    assert left["estimated_requests"] == 2
    assert left["1000 tokens per 1m"]["remaining"] == 400
    assert left["1 USD per 1m"]["remaining"] == pytest.approx(1 - 3 * 500e-6)
    assert read(scene.budgets.lines("web"))["x-setpoint-budget-estimated-requests"] == "2"
    scene.held("few").close(200, None, guessed, 0, scene.now_s)
    assert "x-setpoint-budget-estimated-requests" not in read(scene.budgets.lines("few"))


def test_what_went_into_the_cache_has_its_own_price() -> None:
    card = ModelCard(
        name="m", pool="p", upstream="u", input_price=4.0, output_price=8.0, cache_write_price=5.0
    )
    written = Usage(
        prompt_tokens=100, completion_tokens=10, cached_tokens=20, cache_write_tokens=30
    )
    found = terms_of(Catalog(models={"m": card}))["m"].cost(100, 10, written)
    assert found == (70 * 4 + 30 * 5 + 10 * 8) * 10**6
    assert found == round((cost_usd(card, written) or 0) * 1e12)


def test_a_request_is_paid_by_the_prices_it_was_decided_with() -> None:
    """And one that comes after the catalogue was replaced by the new ones."""
    scene = Scene(web=[entry("cost", 1)])
    first = scene.held()
    dearer = msgspec.structs.replace(CATALOG.models["priced"], input_price=10.0, output_price=40.0)
    scene.catalog = msgspec.structs.replace(CATALOG, models={"priced": dearer})
    second = scene.held()
    first.close(200, None, answered(100, 100), 0, scene.now_s)
    second.close(200, None, answered(100, 100), 0, scene.now_s)
    assert scene.remaining() == {"1 USD per 1m": pytest.approx(1 - 500e-6 - 5000e-6)}


def test_what_answered_is_paid_and_not_what_was_asked_for() -> None:
    scene = Scene(web=[entry("cost", 1)])
    scene.held(model="unpriced").close(
        200, None, answered(100, 100, model="priced"), 0, scene.now_s
    )
    assert scene.remaining() == {"1 USD per 1m": 1 - 500e-6}


# -- what is told -------------------------------------------------------------------------


def test_a_refusal_names_the_budget_and_when_there_is_room() -> None:
    scene = Scene(web=[entry("requests", 1, "64s")])
    scene.held().close(200, None, answered(), 0, scene.now_s)
    scene.now_s = 10.0
    error = scene.refused()
    assert error.message == (
        "the budget of 1 request per 64s is used up: there is room for this request in 55s"
    )
    assert (error.policy_label, error.retry_after_s) == ("1 request per 64s", 55.0)
    assert error.retriable
    scene.now_s = 65.0
    scene.held()


def test_a_budget_that_is_used_up_for_long_is_not_worth_repeating_for() -> None:
    scene = Scene(web=[entry("requests", 1, "day")])
    scene.held().close(200, None, answered(), 0, scene.now_s)
    scene.unix_s -= scene.unix_s % 86_400  # midnight
    error = scene.refused()
    assert error.message.startswith(
        "the budget of 1 request per day (UTC) is used up: there is room"
    )
    assert error.message.endswith("in 24h0m0s")
    assert not error.retriable
    shown = error.envelope().error
    assert (shown.retriable, shown.retry_after_ms) == (False, 86_400_000)
    scene.unix_s += 86_400 - 100
    assert scene.refused().retriable, "in a hundred seconds it is"


def test_a_request_that_is_larger_than_the_whole_budget_is_told_so() -> None:
    scene = Scene(web=[entry("tokens", 100)])
    error = scene.refused(prompt_tokens=100, max_tokens=50)
    assert error.message == (
        "this request may use 150 tokens, and the budget of 100 tokens per 1m is less: "
        "shorten the prompt, or ask for fewer max_tokens"
    )
    assert (error.retriable, error.retry_after_s) == (False, None)
    scene.held(prompt_tokens=90, max_tokens=None)


def test_what_is_held_by_others_comes_free_when_they_end() -> None:
    scene = Scene(web=[entry("tokens", 100)])
    first = scene.held(prompt_tokens=10, max_tokens=80)
    error = scene.refused(prompt_tokens=10, max_tokens=80)
    assert "held by requests under way" in error.message
    assert error.retriable
    first.close(200, None, answered(5, 1), 0, scene.now_s)
    scene.held(prompt_tokens=10, max_tokens=80)


def test_refusals_and_use_are_in_the_metrics() -> None:
    scene = Scene(entry("requests", 1), web=[entry("requests", 2)])
    for name in ("web", "web", "web", "web", "proxied", "proxied", "proxied"):
        scene.ask(name)
    text = scene.metrics.exposition().decode()
    refusals = 'setpoint_budget_refusals_total{budget="%s per 1m",key="%s"} 2.0'
    assert refusals % ("2 requests", "web") in text
    assert refusals % ("1 request", "other") in text
    assert 'setpoint_budget_used_ratio{budget="2 requests per 1m",key="web"} 1.0' in text
    assert 'key="proxied"' not in text


# -- through the edge ---------------------------------------------------------------------

OPERATOR, WEB = "op-0123456789", "web-0123456789"


async def guarded(make_edge: MakeEdge, budget: str, **settings: Any) -> Edge:
    keys = f"keys: [{{name: web, token: {WEB}, budget: {budget}}}]"
    return await make_edge(f"auth: {{token: {OPERATOR}, {keys}}}", **settings)


async def ask(edge: Edge, token: str = WEB, path: str = "chat/completions", **body: Any) -> Answer:
    data = chat_body(**body)
    return await edge.ask("POST", f"/v1/{path}", data, authorization=f"Bearer {token}")


def shown(answer: Answer) -> dict[str, str]:
    return {k: v for k, v in answer.headers.items() if "ratelimit" in k or "budget" in k}


BUDGET = "[{requests: 100, per: 1h}, {tokens: 1000, per: 1h}]"


@pytest.mark.parametrize("stream", [True, False])
async def test_every_answer_says_how_the_budget_stands(make_edge: MakeEdge, stream: bool) -> None:
    edge = await guarded(make_edge, BUDGET)
    first = await ask(edge, stream=stream, max_tokens=50)
    assert first.status == 200
    told = shown(first)
    prompt = 1000 - 50 - int(told["x-ratelimit-remaining-tokens"])
    if stream:  # the head is out before the usage is known: it shows what is held
        assert 0 < prompt < 50
    assert told["x-ratelimit-limit-requests"] == "100"
    assert told["x-ratelimit-remaining-requests"] == "99"
    assert told["x-ratelimit-limit-tokens"] == "1000"
    assert told["x-ratelimit-reset-requests"].startswith("1h0m")
    await eventually(lambda: "995" in read(edge.gateway.budgets.lines("web")).values())
    second = await ask(edge, stream=stream, max_tokens=50)
    assert shown(second)["x-ratelimit-remaining-requests"] == "98"


@pytest.mark.parametrize("path", ["models", "models/none", "nowhere", "intents"])
async def test_answers_that_cost_nothing_tell_it_too(make_edge: MakeEdge, path: str) -> None:
    edge = await guarded(make_edge, BUDGET)
    answer = await edge.ask("GET", f"/v1/{path}", authorization=f"Bearer {WEB}")
    assert shown(answer)["x-ratelimit-remaining-requests"] == "100"


async def test_whoever_has_no_budget_is_told_of_none(make_edge: MakeEdge) -> None:
    edge = await guarded(make_edge, BUDGET)
    assert shown(await ask(edge, OPERATOR)) == {}
    stranger = await ask(edge, "not-a-token")
    assert (stranger.status, shown(stranger)) == (403, {})
    assert shown(await edge.ask("GET", "/livez")) == {}


@pytest.mark.parametrize(
    ("script", "body", "status"),
    [
        (refuses(500, b"{}"), {}, 502),
        (refuses(503, b"busy"), {}, 503),
        (refuses(400, b'{"error":{"message":"bad top_k"}}'), {}, 400),
        (hangs_up, {"stream": True}, 502),
        (says(b"<html>"), {}, 502),
        (None, {"model": "none"}, 404),
        (None, {"messages": 5}, 400),
    ],
)
async def test_an_error_uses_nothing_and_says_how_the_budget_stands(
    make_edge: MakeEdge, engine: ScriptedEngine, script: Any, body: Any, status: int
) -> None:
    if script is not None:
        engine.plays(script)
    edge = await guarded(make_edge, BUDGET)
    answer = await ask(edge, **body)
    assert answer.status == status
    assert "x-ratelimit-remaining-requests" in shown(answer)
    headers = read(edge.gateway.budgets.lines("web"))
    assert headers["x-ratelimit-remaining-requests"] == "100"
    assert headers["x-ratelimit-remaining-tokens"] == "1000"


@pytest.mark.parametrize("stream", [True, False])
async def test_over_budget_is_a_429_that_no_engine_and_no_loop_hears_of(
    make_edge: MakeEdge, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    edge = await guarded(make_edge, "[{requests: 1, per: 64s}]")
    await ask(edge)
    fates, asked = Fates(edge.gateway, monkeypatch), len(engine.asked)
    answer = await ask(edge, stream=stream)
    assert (answer.status, answer.error["code"]) == (429, "budget_exceeded")
    assert answer.error["type"] == "rate_limit_error"
    assert answer.error["policy_label"] == "1 request per 64s"
    assert answer.error["retriable"] is True
    assert 0 < int(answer.headers["retry-after"]) <= 65
    assert "x-should-retry" not in answer.headers
    assert shown(answer)["x-ratelimit-remaining-requests"] == "0"
    assert answer.headers["x-setpoint-intent"]
    assert len(engine.asked) == asked
    assert (fates.offered, fates.told) == ([], [])
    assert await edge.counted("setpoint_budget_refusals_total", key="web") == 1
    assert await edge.counted("setpoint_requests_total", status="429", model="served") == 1
    assert (await ask(edge, OPERATOR)).status == 200


async def test_a_day_that_is_used_up_is_not_for_an_sdk_to_wait_for(make_edge: MakeEdge) -> None:
    edge = await guarded(make_edge, "[{requests: 1, per: 7d}]")
    await ask(edge)
    answer = await ask(edge)
    assert answer.status == 429
    assert answer.headers["x-should-retry"] == "false"
    assert int(answer.headers["retry-after"]) > 6 * 86_400
    assert answer.error["retriable"] is False


async def test_a_request_that_is_too_large_for_ever_has_no_time_to_come_back(
    make_edge: MakeEdge,
) -> None:
    edge = await guarded(make_edge, "[{tokens: 20, per: 1m}]")
    answer = await ask(edge, max_tokens=1000)
    assert (answer.status, answer.headers["x-should-retry"]) == (429, "false")
    assert "retry-after" not in answer.headers
    assert "retry_after_ms" not in answer.error


async def test_what_a_rule_refuses_is_not_a_request_of_the_budget(make_edge: MakeEdge) -> None:
    rules = """
intents: [{name: i, match: {default: true}}]
rules: [{name: no, when: request.max_tokens == 13, then: {reject: {}}}]
"""
    edge = await guarded(make_edge, "[{requests: 1, per: 1h}]", policies=rules)
    for _ in range(3):
        assert (await ask(edge, max_tokens=13)).error["code"] == "rejected_by_policy"
    assert (await ask(edge)).status == 200
    # Both would say no now. The rule has nothing to do with how much was used, so the budget is not asked.
    assert (await ask(edge, max_tokens=13)).error["code"] == "rejected_by_policy"
    assert await edge.counted("setpoint_budget_refusals_total") == 0


async def test_a_cap_by_a_policy_is_what_is_held(make_edge: MakeEdge) -> None:
    rules = """
intents: [{name: i, match: {default: true}}]
rules: [{name: short, when: "true", then: {max_tokens: 7}}]
"""
    edge = await guarded(make_edge, "[{tokens: 50, per: 1h}]", policies=rules)
    assert (await ask(edge, max_tokens=10_000)).status == 200


async def test_embeddings_and_text_completions_are_counted_alike(
    make_edge: MakeEdge, engine: ScriptedEngine
) -> None:
    edge = await guarded(make_edge, BUDGET)
    listed = {
        "object": "list",
        "model": "real",
        "data": [{"object": "embedding", "index": 0, "embedding": [0.5]}],
        "usage": {"prompt_tokens": 30, "total_tokens": 30},
    }
    engine.plays(says(msgspec.json.encode(listed)))
    answer = await ask(edge, path="embeddings", messages=..., input="Hello")
    assert answer.status == 200
    headers = read(edge.gateway.budgets.lines("web"))
    assert headers["x-ratelimit-remaining-requests"] == "99"
    assert headers["x-ratelimit-remaining-tokens"] == "970"

    async def completes(call: Call) -> None:
        await call.head()
        for choice in ({"text": "Hi"}, {"text": "", "finish_reason": "stop"}):
            data = msgspec.json.encode({"choices": [{"index": 0, **choice}]})
            await call.send(b"data: " + data + b"\n\n")
        await call.send(b'data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":1}}')
        await call.send(b"\n\ndata: [DONE]\n\n")

    engine.plays(completes)
    answer = await ask(edge, path="completions", messages=..., prompt="Hello", max_tokens=5)
    assert answer.status == 200
    assert read(edge.gateway.budgets.lines("web"))["x-ratelimit-remaining-tokens"] == "960"


async def test_a_client_that_leaves_a_stream_has_used_what_it_got(
    make_edge: MakeEdge, engine: ScriptedEngine
) -> None:
    async def talks(call: Call) -> None:
        await call.head()
        for _ in range(5):
            await call.piece("a")
        await asyncio.Event().wait()

    engine.plays(talks)
    edge = await guarded(make_edge, BUDGET)
    before = read(edge.gateway.budgets.lines("web"))
    async with await edge.connect() as line:
        body = chat_body(stream=True, max_tokens=500)
        line.send(request("POST", "/v1/chat/completions", body, authorization=f"Bearer {WEB}"))
        await line.until(b'"a"')
        held = int(read(edge.gateway.budgets.lines("web"))["x-ratelimit-remaining-tokens"])
        assert held < 500
    left = lambda: int(read(edge.gateway.budgets.lines("web"))["x-ratelimit-remaining-tokens"])  # noqa: E731
    await eventually(lambda: left() > 900)
    assert left() < 1000 - 5
    assert before["x-ratelimit-remaining-tokens"] == "1000"
    assert read(edge.gateway.budgets.lines("web"))["x-ratelimit-remaining-requests"] == "99"


async def test_a_request_is_held_while_it_waits_and_given_back_when_it_is_refused(
    make_edge: MakeEdge, engine: ScriptedEngine
) -> None:
    engine.plays(is_silent)
    pool = "max_inflight: 1, queue: {max_requests: 1, timeout: 100ms}, retries: 0"
    edge = await guarded(make_edge, "[{requests: 2, per: 1h}]", pool=pool)
    async with await edge.connect() as working:
        body = chat_body()
        working.send(request("POST", "/v1/chat/completions", body, authorization=f"Bearer {WEB}"))
        await eventually(lambda: bool(engine.asked))
        waited = await ask(edge)
        assert (waited.status, waited.error["code"]) == (503, "queue_timeout")
        headers = read(edge.gateway.budgets.lines("web"))
        assert headers["x-ratelimit-remaining-requests"] == "1"


async def test_a_caller_whom_a_proxy_names_has_the_default_budget(make_edge: MakeEdge) -> None:
    proxied = "trust_proxy_auth: true, default_budget: [{requests: 1, per: 1h}]"
    edge = await make_edge(f"auth: {{{proxied}}}")
    path = "/v1/chat/completions"
    statuses = [
        (await edge.ask("POST", path, chat_body(), x_forwarded_user=name)).status
        for name in ("alice", "alice", "bob")
    ]
    assert statuses == [200, 429, 200]


async def test_a_task_is_refused_when_it_is_handed_in_and_settled_when_it_has_run(
    make_edge: MakeEdge,
) -> None:
    edge = await guarded(make_edge, "[{requests: 1, per: 1h}, {tokens: 1000, per: 1h}]")
    accepted = await ask(edge, path="tasks", max_tokens=50)
    assert accepted.status == 202
    assert shown(accepted)["x-ratelimit-remaining-requests"] == "0"
    lines = edge.gateway.budgets.lines
    await eventually(lambda: read(lines("web"))["x-ratelimit-remaining-tokens"] == "995")
    refused = await ask(edge, path="tasks", max_tokens=50)
    assert (refused.status, refused.error["code"]) == (429, "budget_exceeded")
    assert read(lines("web"))["x-ratelimit-remaining-tokens"] == "995"
