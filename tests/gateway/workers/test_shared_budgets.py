"""A budget that several workers share: together they admit what one would, and none of it is lost."""

import asyncio
import random
from functools import partial
from pathlib import Path

import msgspec
import pytest

from contracts.decision import Decision, Shaping
from contracts.errors import BudgetExceeded
from contracts.events import Usage
from contracts.inference import Constraints, InferRequest, RequestFacts, Target
from gateway.budgets import BudgetHold, Budgets, Reserved
from gateway.flight_recorder import CLIENT_GONE
from gateway.head_lines import read
from gateway.progress import Progress
from policies.answer_length import START_TOKENS
from tests.fakes.edge import eventually
from tests.gateway.workers.several import Member, several

pytestmark = pytest.mark.req("ADM-6", "OPS-9")
CONFIG = """
auth:
  token: op-7d1f0c2b9a
  keys: [{name: web, token: web-51ce9e0d44, budget: [{BUDGET, per: PERIOD}]}]
pools:
  - {id: local, engine: openai, endpoints: ["http://127.0.0.1:9"]}
models:
  - {name: served, pool: local, price: {input: 1, output: 1}}
"""


def config(budget: str, period: str = "1h") -> str:
    return CONFIG.replace("BUDGET", budget).replace("PERIOD", period)


def request(prompt_tokens: int = 10) -> tuple[InferRequest, Decision]:
    facts = RequestFacts(
        operation="chat", model="served", key="web", prompt_tokens=prompt_tokens, max_tokens=10
    )
    infer = InferRequest(request_id="r", operation="chat", members={}, facts=facts)
    decision = Decision(
        intent="i", shaping=Shaping(model="served"), models=("served",), constraints=Constraints()
    )
    return infer, decision


async def reserved(member: Member, infer: InferRequest, decision: Decision) -> Reserved:
    """As `gateway.inference.decided` does."""
    found = member.gateway.budgets.reserve(infer, decision, member.gateway.catalog)
    if found is None or isinstance(found, BudgetHold | BudgetExceeded):
        return found
    return await found


async def ask(member: Member, prompt_tokens: int = 10) -> Reserved:
    return await reserved(member, *request(prompt_tokens))


def ended(member: Member, hold: BudgetHold, tokens: int) -> None:
    """Well, with so many tokens used."""
    progress = Progress(accepted_s=0.0)
    progress.first_token_s = 0.1
    progress.target = Target(model="served", pool="local", upstream="served", context=None)
    progress.usage = Usage(prompt_tokens=tokens, completion_tokens=0)
    hold.close(200, None, progress, 0, member.gateway.clock())


async def test_requests_are_admitted_to_the_last_one_and_no_more(tmp_path: Path) -> None:
    async with several(tmp_path, count=3, config=config("requests: 37")) as gateway:
        draws = random.Random(1)
        asked = [ask(draws.choice(gateway.members)) for _ in range(100)]
        found = await asyncio.gather(*asked)
        assert sum(isinstance(one, BudgetHold) for one in found) == 37


async def test_all_of_it_can_be_used_at_one_worker(tmp_path: Path) -> None:
    async with several(tmp_path, config=config("tokens: 1000")) as gateway:
        a, b = gateway.members
        assert isinstance(await ask(b), BudgetHold)
        found = [await ask(a) for _ in range(60)]
        assert sum(isinstance(one, BudgetHold) for one in found) == (1000 - 20) // 20


async def test_what_was_not_used_comes_back_to_all(tmp_path: Path) -> None:
    async with several(tmp_path, config=config("tokens: 100")) as gateway:
        a, b = gateway.members
        held = [await ask(a) for _ in range(5)]
        assert isinstance(await ask(b), BudgetExceeded)
        for hold in held:
            assert isinstance(hold, BudgetHold)
            hold.close(CLIENT_GONE, None, Progress(accepted_s=0.0), 0, a.gateway.clock())
        await asyncio.sleep(0.06)  # a refusal is believed for so long
        found = [await ask(b) for _ in range(5)]
        assert all(isinstance(one, BudgetHold) for one in found)


async def test_what_was_used_beyond_its_claim_is_missing_for_all(tmp_path: Path) -> None:
    async with several(tmp_path, config=config("tokens: 100")) as gateway:
        a, b = gateway.members
        hold = await ask(a)
        assert isinstance(hold, BudgetHold)
        ended(a, hold, tokens=95)
        await eventually(lambda: gateway.hub.lender.lent("budget:0:web", 0, "") >= 95)
        assert isinstance(await ask(b), BudgetExceeded)


def tells(budgets: Budgets, remaining: str) -> bool:
    return read(budgets.lines("web"))["x-ratelimit-remaining-requests"] == remaining


async def test_everybody_is_told_what_all_have_used(tmp_path: Path) -> None:
    async with several(tmp_path, config=config("requests: 20")) as gateway:
        a, b = gateway.members
        await ask(a)
        await ask(b)
        for member in gateway.members:
            budgets = member.gateway.budgets
            await eventually(partial(tells, budgets, "18"))
        assert a.gateway.budgets.left("web") == {
            "20 requests per 1h": {
                "limit": 20,
                "remaining": 18,
                "reset_s": pytest.approx(3656, abs=60),
            }
        }


async def test_a_refusal_says_when_what_others_used_comes_free(tmp_path: Path) -> None:
    async with several(tmp_path, config=config("requests: 3")) as gateway:
        a, b = gateway.members
        for _ in range(3):
            await ask(a)
        await eventually(partial(tells, b.gateway.budgets, "0"))
        refused = await ask(b)
        assert isinstance(refused, BudgetExceeded)
        assert refused.retry_after_s == pytest.approx(3656, abs=60)


async def test_what_a_dead_worker_used_counts_on(tmp_path: Path) -> None:
    async with several(tmp_path, config=config("requests: 32")) as gateway:
        a, b = gateway.members
        for _ in range(10):
            assert isinstance(await ask(a), BudgetHold)
        await a.die()
        await eventually(lambda: 0 not in gateway.hub._workers)
        found = [await ask(b) for _ in range(40)]
        admitted = sum(isinstance(one, BudgetHold) for one in found)
        assert 32 - 10 - 2 * (32 // 16) <= admitted <= 32 - 10


async def test_without_a_hub_what_was_lent_is_used_and_nobody_waits(tmp_path: Path) -> None:
    async with several(tmp_path, config=config("requests: 32")) as gateway:
        a, _ = gateway.members
        assert isinstance(await ask(a), BudgetHold)
        await gateway.end_hub()
        await eventually(lambda: a.link._link is None)
        found = [await ask(a) for _ in range(33)]
        admitted = sum(isinstance(one, BudgetHold) for one in found)
        assert 0 < admitted < 32
        await gateway.begin_hub(2, alive=(0, 1))


async def test_a_guess_takes_what_is_free_of_the_whole(tmp_path: Path) -> None:
    async with several(tmp_path, config=config("tokens: 10000")) as gateway:
        a, b = gateway.members
        assert isinstance(await ask(b), BudgetHold)
        infer, decision = request()
        infer = msgspec.structs.replace(
            infer, facts=msgspec.structs.replace(infer.facts, max_tokens=None)
        )
        found = await reserved(a, infer, decision)
        assert isinstance(found, BudgetHold)
        assert found.reservation.parts == [10 + START_TOKENS]


async def test_a_window_gives_back_what_has_left_it(tmp_path: Path) -> None:
    async with several(tmp_path, config=config("requests: 4", "1s")) as gateway:
        a, b = gateway.members
        for _ in range(4):
            assert isinstance(await ask(a), BudgetHold)
        assert isinstance(await ask(b), BudgetExceeded)
        await asyncio.sleep(1.1)
        found = [await ask(b) for _ in range(4)]
        assert all(isinstance(one, BudgetHold) for one in found)
