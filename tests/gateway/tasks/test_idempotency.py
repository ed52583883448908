"""Which task a key stands for, also while it is being submitted."""

import asyncio

import pytest

from contracts.errors import IdempotencyKeyReused, QueueFull
from gateway.tasks.idempotency import IdempotencyKeys

pytestmark = [pytest.mark.looptime, pytest.mark.req("ADM-1")]


class Submission:
    """A submission that takes a second, and fails as long as there is no room."""

    def __init__(self) -> None:
        self.calls = 0
        self.room = True

    async def __call__(self) -> str:
        self.calls += 1
        await asyncio.sleep(1)
        if not self.room:
            raise QueueFull("full")
        return f"task_{self.calls}"


async def test_who_comes_second_waits_for_the_first() -> None:
    keys, submit = IdempotencyKeys(), Submission()
    found = await asyncio.gather(*(keys.once("ada", "k", "d", submit) for _ in range(5)))
    assert submit.calls == 1
    assert [task_id for task_id, _ in found] == ["task_1"] * 5
    assert [repeated for _, repeated in found] == [False, True, True, True, True]


async def test_a_refused_first_one_frees_the_key_for_the_next() -> None:
    keys, submit = IdempotencyKeys(), Submission()
    submit.room = False
    found = await asyncio.gather(
        *(keys.once("ada", "k", "d", submit) for _ in range(3)), return_exceptions=True
    )
    assert all(isinstance(one, QueueFull) for one in found)
    assert len(keys) == 0
    submit.room = True
    assert (await keys.once("ada", "k", "d", submit))[1] is False


async def test_a_client_that_leaves_meanwhile_frees_it_too() -> None:
    keys, submit = IdempotencyKeys(), Submission()
    async with asyncio.TaskGroup() as group:
        first = group.create_task(keys.once("ada", "k", "d", submit))
        await asyncio.sleep(0.5)
        second = group.create_task(keys.once("ada", "k", "d", submit))
        await asyncio.sleep(0)
        first.cancel()
    assert await second == ("task_2", False)


async def test_another_body_is_refused_also_while_the_first_is_under_way() -> None:
    keys, submit = IdempotencyKeys(), Submission()
    async with asyncio.TaskGroup() as group:
        group.create_task(keys.once("ada", "k", "d", submit))
        await asyncio.sleep(0)
        with pytest.raises(IdempotencyKeyReused):
            await keys.once("ada", "k", "other", submit)
    with pytest.raises(IdempotencyKeyReused):
        await keys.once("ada", "k", "other", submit)


async def test_callers_do_not_share_keys_and_a_forgotten_one_is_new() -> None:
    keys, submit = IdempotencyKeys(), Submission()
    keys.remember("ada", "k", "d", "task_0")
    assert await keys.once("ada", "k", "d", submit) == ("task_0", True)
    assert await keys.once("bob", "k", "d", submit) == ("task_1", False)
    keys.forget("ada", "k", "task_9")
    assert (await keys.once("ada", "k", "d", submit))[1], "it is another one's"
    keys.forget("ada", "k", "task_0")
    keys.forget("ada", "k", "task_0")
    assert await keys.once("ada", "k", "d", submit) == ("task_2", False)


async def test_a_forgotten_task_does_not_take_the_key_from_one_that_is_being_submitted() -> None:
    keys, submit = IdempotencyKeys(), Submission()
    submit.room = False

    async def forgotten_meanwhile() -> None:
        await asyncio.sleep(0.5)
        keys.forget("ada", "k", "task_0")
        with pytest.raises(IdempotencyKeyReused):
            await keys.once("ada", "k", "other", submit)

    new = keys.once("ada", "k", "d", submit)
    found = await asyncio.gather(new, forgotten_meanwhile(), return_exceptions=True)
    assert isinstance(found[0], QueueFull), "refused, and nothing else is wrong"
    assert found[1] is None
    assert len(keys) == 0
