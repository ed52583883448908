"""Durable tasks over a restart of the gateway's process: nothing that was accepted is lost, and nothing runs twice."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.processes import eventually
from tests.support.setpoint_server import Gateway, Llmd
from tests.support.task_reader import TaskReader, cancel, look, submit, whole
from tests.support.wire import post

pytestmark = [pytest.mark.real, pytest.mark.req("OPS-6", "RUN-4")]
PROMPT = {"model": "sim-large", "prompt": "Once"}


@pytest.fixture
def slow(make_llmd: Callable[..., Llmd]) -> Llmd:
    """An engine that needs a second for its first token."""
    return make_llmd("--latency-calculator", "constant", "--time-to-first-token", "1s")


@pytest.fixture
def gateway(slow: Llmd, make_gateway: Callable[[str], Gateway], tmp_path: Path) -> Gateway:
    return make_gateway(
        f"pools: [{{id: one, engine: llmd, endpoint: '{slow.url}', max_inflight: 1}}]\n"
        f"records: 'sqlite:///{tmp_path}/records.db'\n"
        "tasks: {durable: true}\ndrain_timeout: 100ms"
    )


def test_who_waits_runs_after_the_next_start_and_who_ran_is_told(gateway: Gateway) -> None:
    first = submit(gateway, **PROMPT, max_tokens=900, ignore_eos=True)
    second = submit(gateway, **PROMPT, max_tokens=3, seed=11)
    third = submit(gateway, **PROMPT, max_tokens=3)
    assert cancel(gateway, third) == "cancelled"
    with TaskReader(gateway, first) as runs, TaskReader(gateway, second) as waits:
        eventually(lambda: look(gateway, first)["state"] != "queued", "it runs")
        gateway.stop()
        last = list(runs)[-1]
        told = list(waits)
    assert (last.name, last.data["code"], last.data["retriable"]) == ("error", "draining", True)
    assert [(event.id, event.name) for event in told] == [(1, "started"), (1, "error")]
    assert (told[1].data["code"], told[1].data["retriable"]) == ("draining", True)

    gateway.start()
    assert look(gateway, first)["error"]["code"] == "draining"
    assert look(gateway, third)["state"] == "cancelled"
    with TaskReader(gateway, second, after=told[-1].id) as reader:
        rest = list(reader)
    assert [event.id for event in rest] == list(range(2, len(rest) + 2))
    assert [event.name for event in rest][-1] == "end"
    assert look(gateway, second)["state"] == "succeeded"


def test_a_process_that_dies_keeps_its_promises_too(gateway: Gateway) -> None:
    key = {"Idempotency-Key": "k1"}
    body = {**PROMPT, "max_tokens": 900, "ignore_eos": True}
    first = post(f"{gateway.v1}/tasks", body, headers=key).json()["task_id"]
    second = submit(gateway, **PROMPT, max_tokens=3)
    with TaskReader(gateway, first) as reader:
        read = reader.tokens(2)
        gateway.kill()
    gateway.start()

    again = post(f"{gateway.v1}/tasks", body, headers=key)
    assert (again.status, again.json()["task_id"]) == (202, first)
    view = look(gateway, first)
    assert (view["state"], view["error"]["code"]) == ("failed", "interrupted")
    with TaskReader(gateway, first, after=read[-1].id) as reader:
        (last,) = list(reader)
    assert last.data["code"] == "interrupted"
    assert last.data["retriable"] is True
    assert last.id > read[-1].id
    assert whole(gateway, second)[-1].name == "end"
