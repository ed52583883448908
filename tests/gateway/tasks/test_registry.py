"""What runs and what has ended: who may see it, and for how long."""

import msgspec
import pytest

from contracts.errors import TaskNotFound
from contracts.tasks import EndEvent, TaskState, TaskSummary, TaskView
from gateway.auth import Caller
from gateway.tasks.log import TaskLog
from gateway.tasks.readers import Readers
from gateway.tasks.registry import Registry
from gateway.tasks.remembered import Remembered
from tests.fakes.task_views import VIEW

pytestmark = pytest.mark.req("RUN-4")
ADA, BOB = Caller(name="ada"), Caller(name="bob")
OPERATOR = Caller(name="operator", operator=True)


class Chat:
    """A request that is being answered."""

    def __init__(self, request_id: str, caller: str = "ada") -> None:
        self.id = request_id
        self.caller = caller
        self.created_s = 0.0
        self.state: TaskState = "streaming"

    def cancel(self) -> TaskState:
        return self.state

    def summary(self) -> TaskSummary:
        raise NotImplementedError

    def view(self) -> TaskView:
        raise NotImplementedError


class Scene:
    def __init__(self, keep: int = 2, keep_bytes: int = 1_000_000) -> None:
        self.now_s = 0.0
        self.forgotten: list[str] = []
        self.registry = Registry(
            keep=keep,
            keep_for_s=10.0,
            keep_bytes=keep_bytes,
            clock=lambda: self.now_s,
            on_forgotten=lambda task: self.forgotten.append(task.id),
        )

    def end(self, task_id: str, caller: str = "ada") -> Remembered:
        log = TaskLog(max_events=9, max_bytes=999)
        log.close(EndEvent(tokens_out=0, decode_time_ms=0))
        view = msgspec.structs.replace(VIEW, id=task_id, key=caller)
        task = Remembered(msgspec.json.encode(view), log, Readers(1))
        self.registry.ended(task)
        return task


def test_only_so_many_are_known_the_newest_first() -> None:
    scene = Scene(keep=2)
    for task_id in ("a", "b", "c"):
        scene.end(task_id)
    assert scene.forgotten == ["a"]
    assert scene.registry.find("a", ADA) is None
    assert {work.id for work in scene.registry.seen_by(ADA, ended=True)} == {"b", "c"}
    assert scene.registry.seen_by(ADA, ended=False) == []


def test_for_so_long() -> None:
    scene = Scene()
    scene.end("a")
    scene.now_s = 9.0
    assert scene.registry.find("a", ADA) is not None
    scene.now_s = 10.0
    assert scene.registry.find("a", ADA) is None
    assert scene.forgotten == ["a"]


def test_and_so_many_bytes() -> None:
    size = Scene().end("a").bytes
    scene = Scene(keep=100, keep_bytes=2 * size)
    for task_id in ("a", "b", "c"):
        scene.end(task_id)
    assert scene.forgotten == ["a"]


def test_none_at_all_where_none_is_to_be_kept() -> None:
    scene = Scene(keep=0)
    scene.end("a")
    assert scene.forgotten == ["a"]


def test_what_is_somebody_elses_is_not_there() -> None:
    scene = Scene()
    scene.end("a")
    scene.registry.answering(Chat("req_1"))
    for work_id in ("a", "req_1"):
        assert scene.registry.find(work_id, ADA) is not None
        assert scene.registry.find(work_id, OPERATOR) is not None
        with pytest.raises(TaskNotFound):
            scene.registry.find(work_id, BOB)
    assert scene.registry.seen_by(BOB, ended=True) == []
    assert len(scene.registry.seen_by(OPERATOR, ended=True)) == 2


def test_a_chat_is_known_while_it_is_answered() -> None:
    scene = Scene()
    chat = Chat("req_1")
    scene.registry.answering(chat)
    assert scene.registry.find("req_1", ADA) is not None
    assert len(scene.registry.live) == 1
    scene.registry.answered(chat)
    assert scene.registry.find("req_1", ADA) is None


def test_of_two_with_one_id_the_second_gets_another() -> None:
    scene = Scene()
    scene.end("task_1")
    first, second, third = Chat("same"), Chat("same", "bob"), Chat("task_1", "bob")
    for chat in (first, second, third):
        scene.registry.answering(chat)
    assert first.id == "same"
    assert second.id.startswith("req_")
    assert third.id.startswith("req_")
    assert scene.registry.find("same", ADA) is first
    assert scene.registry.find(second.id, BOB) is second
