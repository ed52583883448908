"""Tasks with a real llama.cpp server behind them: submit, stream, look, cancel; and the same bytes again.

As in test_client_leaves, bounds are generous and the order is strict: the slot is free long before the answer could have
been complete. `pytest -rP` shows what was measured.
"""

import time
from collections.abc import Callable

import pytest

from tests.support.llama_server import MODEL, PREDICTED, LlamaServer
from tests.support.processes import eventually
from tests.support.setpoint_server import Gateway, Llmd
from tests.support.task_reader import TaskReader, cancel, look, submit, whole
from tests.support.wire import Streamed, get

pytestmark = [pytest.mark.real, pytest.mark.req("RUN-4")]
LONG = 900
MODEST_S = 0.05
"""Between two questions for /slots."""
SEEDS = (*range(12), 42, 1234, 2**31 - 1, 2**32 - 2)
CHAT = {"model": MODEL, "messages": [{"role": "user", "content": "Tell me about the sea."}]}


@pytest.mark.req("ADM-1", "ADM-4", "OPS-1")
def test_a_task_is_submitted_streamed_and_looked_at(through_llama: Gateway) -> None:
    task_id = submit(through_llama, **CHAT, max_tokens=16, seed=3)
    events = whole(through_llama, task_id)
    assert [event.id for event in events] == list(range(1, len(events) + 1))
    assert (events[0].name, events[-1].name) == ("started", "end")
    tokens = [event.data for event in events if event.name == "token"]
    assert [token["i"] for token in tokens] == list(range(len(tokens)))

    view = look(through_llama, task_id)
    assert view["state"] == "succeeded"
    said = "".join(token["t"] for token in tokens)
    assert view["result"]["choices"][0]["message"]["content"] == said
    assert view["usage"]["completion_tokens"] == view["tokens_out"] == 16
    assert (view["engine"], view["replica_id"]) == ("llamacpp", "default/1")
    assert view["finish_reason"] == "length"
    line = through_llama.logged("request", job_id=task_id)
    assert (line["engine"], line["tokens_out"], line["status"]) == ("llamacpp", 16, 200)
    assert line["tokens_in"] == view["prompt_tokens"]


@pytest.mark.req("ADM-3", "ENG-1")
def test_a_cancel_frees_the_slot_and_nobody_reads_on(
    through_llama: Gateway, llama: LlamaServer
) -> None:
    eventually(lambda: not llama.busy(), "the server is idle", every_s=MODEST_S)
    generated = llama.metrics().total(PREDICTED)
    task_id = submit(through_llama, **CHAT, max_tokens=LONG, ignore_eos=True)
    with TaskReader(through_llama, task_id) as reader:
        assert len(reader.tokens(5)) == 5
        assert cancel(through_llama, task_id) == "cancelled"
        answered_s = time.monotonic()
        eventually(lambda: not llama.busy(), "the slot is free", within_s=5, every_s=MODEST_S)
        free_s = time.monotonic()
        rest = list(reader)
    print(f"free at most {(free_s - answered_s) * 1000:.0f} ms after the cancel was answered")
    assert rest[-1].name == "error"
    assert rest[-1].data["code"] == "cancelled"
    spent = llama.metrics().total(PREDICTED) - generated
    assert 5 <= spent < LONG / 2, "it stopped before the answer could have ended"
    assert through_llama.metrics().total("setpoint_pool_inflight_requests") == 0

    view = look(through_llama, task_id)
    assert view["state"] == "cancelled"
    in_result = view["result"]["choices"][0]["message"]["content"]
    assert in_result, "what had come by then is kept"
    assert [event.name for event in whole(through_llama, task_id)] == ["started", "error"]


@pytest.mark.req("ADM-3")
def test_a_chat_stream_is_in_the_list_and_can_be_cancelled_from_there(
    through_llama: Gateway, llama: LlamaServer
) -> None:
    eventually(lambda: not llama.busy(), "the server is idle", every_s=MODEST_S)
    body = {**CHAT, "max_tokens": LONG, "ignore_eos": True, "stream": True}
    client = Streamed(f"{through_llama.v1}/chat/completions", body)
    assert len(client.chunks(3)) == 3
    (listed,) = get(f"{through_llama.v1}/tasks").json()["data"]
    assert (listed["kind"], listed["state"], listed["model"]) == ("chat", "streaming", MODEL)
    assert cancel(through_llama, listed["id"]) == "cancelled"
    eventually(lambda: not llama.busy(), "the slot is free", within_s=5, every_s=MODEST_S)
    last = list(client.frames())[-1]
    assert b'"code":"cancelled"' in last
    client.close()


@pytest.mark.req("ADM-4")
def test_a_reader_takes_up_where_it_was(through_llama: Gateway) -> None:
    task_id = submit(through_llama, **CHAT, max_tokens=24, seed=1)
    with TaskReader(through_llama, task_id) as reader:
        before = reader.tokens(3)
    with TaskReader(through_llama, task_id, after=before[-1].id) as reader:
        after = list(reader)
    assert [*before, *after] == whole(through_llama, task_id)[1:]


@pytest.mark.req("ENG-4")
def test_sixteen_seeds_twice_say_the_same(through_llama_alone: Gateway) -> None:
    def said(seed: int) -> list[dict[str, object]]:
        task_id = submit(through_llama_alone, **CHAT, max_tokens=12, seed=seed, temperature=1.0)
        return [
            event.data for event in whole(through_llama_alone, task_id) if event.name == "token"
        ]

    first = {seed: said(seed) for seed in SEEDS}
    again = {seed: said(seed) for seed in reversed(SEEDS)}
    assert again == first
    assert len({str(tokens) for tokens in first.values()}) == len(SEEDS), "the seed decides"


@pytest.mark.req("ENG-4")
def test_two_replicas_of_one_digest_say_the_same(
    make_llmd: Callable[..., Llmd], make_gateway: Callable[[str], Gateway]
) -> None:
    first, second = make_llmd(), make_llmd()
    gateway = make_gateway(
        f"pools: [{{id: twins, engine: llmd, endpoints: ['{first.url}', '{second.url}']}}]"
    )
    body = {**CHAT, "model": "sim-large", "max_tokens": 30, "seed": 5}
    ids = [submit(gateway, **body) for _ in range(2)]
    streams = [
        [event.data for event in whole(gateway, task_id) if event.name == "token"]
        for task_id in ids
    ]
    views = [look(gateway, task_id) for task_id in ids]
    assert {view["replica_id"] for view in views} == {"twins/1", "twins/2"}
    lines = [gateway.logged("request", job_id=task_id) for task_id in ids]
    engines = {(line["engine_version"], line.get("model_digest")) for line in lines}
    assert len(engines) == 1
    assert streams[0] == streams[1]
    assert len(streams[0]) > 1
