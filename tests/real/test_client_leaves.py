"""RUN-5: when the client leaves, the engine stops, wherever the request was.

The bounds are generous and the order is strict: the place is free long before the answer could have
been complete. `pytest -rP` shows what was measured.
"""

import time
from collections.abc import Callable, Iterator

import pytest

from tests.support.llama_server import MODEL, PREDICTED, LlamaServer
from tests.support.processes import eventually
from tests.support.setpoint_server import Gateway, Llmd, in_front_of
from tests.support.wire import Streamed

pytestmark = [pytest.mark.real, pytest.mark.req("RUN-5")]
LONG = 900
MODEST_S = 0.05
"""Between two questions for /slots."""


def endless(model: str, *, stream: bool, max_tokens: int = LONG) -> dict[str, object]:
    return {
        "model": model,
        "messages": [{"role": "user", "content": "Count for ever."}],
        "max_tokens": max_tokens,
        "ignore_eos": True,
        "stream": stream,
    }


def disconnects(gateway: Gateway) -> float:
    return gateway.metrics().total("setpoint_client_disconnects_total")


@pytest.mark.req("ENG-1")
@pytest.mark.parametrize("stream", [True, False])
def test_a_llama_slot_is_free_at_once_while_it_decodes(
    through_llama: Gateway, llama: LlamaServer, stream: bool
) -> None:
    eventually(lambda: not llama.busy(), "the server is idle", every_s=MODEST_S)
    generated, left_before = llama.metrics().total(PREDICTED), disconnects(through_llama)
    client = Streamed(f"{through_llama.v1}/chat/completions", endless(MODEL, stream=stream))
    if stream:
        assert len(client.chunks(5)) == 5
    else:
        eventually(
            lambda: any(slot["next_token"][0]["n_decoded"] > 5 for slot in llama.busy()),
            "it decodes",
            every_s=0.2,
        )
    left_s = client.close()
    eventually(lambda: not llama.busy(), "the slot is free", within_s=5, every_s=MODEST_S)
    print(f"free at most {(time.monotonic() - left_s) * 1000:.0f} ms after the client left")

    spent = llama.metrics().total(PREDICTED) - generated
    assert 5 <= spent < LONG / 2, "it stopped before the answer could have ended"
    eventually(lambda: disconnects(through_llama) == left_before + 1, "the client is counted gone")
    line = eventually(lambda: through_llama.log("request", status=499, stream=stream), "a 499")[-1]
    assert line["engine"] == "llamacpp"
    assert through_llama.metrics().total("setpoint_pool_inflight_requests") == 0


@pytest.fixture
def silent(make_llmd: Callable[..., Llmd]) -> Llmd:
    """An engine that has not sent a first token yet, and will not for a minute."""
    return make_llmd("--latency-calculator", "constant", "--time-to-first-token", "60s")


@pytest.fixture
def narrow(silent: Llmd, make_gateway: Callable[[str], Gateway]) -> Gateway:
    """In front of it, one request at a time."""
    return make_gateway(
        f"pools: [{{id: narrow, engine: llmd, endpoint: '{silent.url}', max_inflight: 1}}]"
    )


@pytest.fixture
def ask(narrow: Gateway) -> Iterator[Callable[[bool], Streamed]]:
    asked: list[Streamed] = []

    def start(stream: bool) -> Streamed:
        body = endless("sim-large", stream=stream)
        asked.append(Streamed(f"{narrow.v1}/chat/completions", body))
        return asked[-1]

    yield start
    for client in asked:
        client.close()


@pytest.mark.parametrize("stream", [True, False])
def test_the_engine_is_free_at_once_before_its_first_token(
    silent: Llmd, narrow: Gateway, ask: Callable[[bool], Streamed], stream: bool
) -> None:
    client = ask(stream)
    eventually(lambda: silent.running() == 1, "the engine works on it")
    client.close()
    eventually(lambda: silent.running() == 0, "the engine is free", within_s=5)
    line = narrow.logged("request", status=499)
    assert "ttft_ms" not in line


@pytest.mark.parametrize("stream", [True, False])
def test_whoever_leaves_the_queue_never_reaches_the_engine(
    silent: Llmd, narrow: Gateway, ask: Callable[[bool], Streamed], stream: bool
) -> None:
    def queued() -> float:
        return narrow.metrics().total("setpoint_pool_queued_requests")

    first, second = ask(True), ask(stream)
    eventually(lambda: silent.running() == 1 and queued() == 1, "one runs and one waits")
    second.close()
    eventually(lambda: queued() == 0, "the queue is empty", within_s=5)
    assert (silent.running(), silent.waiting()) == (1, 0)
    first.close()
    eventually(lambda: silent.running() == 0, "the engine is free", within_s=5)

    gone = eventually(
        lambda: (lines := narrow.log("request", status=499)) and len(lines) == 2 and lines,
        "both are logged",
    )
    assert sorted("replica_id" in line for line in gone) == [False, True]


@pytest.mark.req("ENG-1")
def test_the_fifth_request_waits_in_the_gateway_and_not_in_llama(
    make_gateway: Callable[[str], Gateway], llama: LlamaServer
) -> None:
    # A gateway that has not learned yet how slow four at once are here: its limit is the slots.
    gateway = make_gateway(in_front_of("llamacpp", llama))
    eventually(lambda: not llama.busy(), "the server is idle", every_s=MODEST_S)
    url = f"{gateway.v1}/chat/completions"
    clients = [Streamed(url, endless(MODEL, stream=True)) for _ in range(5)]
    try:
        eventually(
            lambda: gateway.metrics().total("setpoint_pool_queued_requests") == 1,
            "one waits in the gateway",
        )
        assert llama.metrics().total("llamacpp:requests_deferred") == 0
        assert gateway.metrics().total("setpoint_pool_limit_requests") == llama.slots_total
    finally:
        for client in clients:
            client.close()
    eventually(lambda: not llama.busy(), "all slots are free", within_s=5, every_s=MODEST_S)
