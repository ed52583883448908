"""OPS-5: a real model answers through the gateway, and a stand-in for one does not pass for it."""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.support.llama_server import MODEL, LlamaServer
from tests.support.real_model_proof import TOKENS, NotProven, prove_real_model
from tests.support.setpoint_server import Gateway
from tests.support.wire import Answer, get, post, sse

pytestmark = [pytest.mark.real, pytest.mark.req("OPS-5")]


@pytest.mark.req("OPS-2", "ENG-1")
def test_a_real_model_answers_through_the_gateway(
    through_llama_alone: Gateway, llama_alone: LlamaServer
) -> None:
    proof = prove_real_model(through_llama_alone, MODEL, llama_alone)

    assert proof.completion_tokens > 2
    seen = through_llama_alone.metrics()
    assert seen.label("setpoint_endpoint_ready", "engine_version") == {proof.engine_version}
    assert seen.total("setpoint_attempts_total", outcome="ok", engine="llamacpp") >= 2


def test_the_proof_fails_on_the_simulated_engine(
    embedded: Gateway, llama_alone: LlamaServer
) -> None:
    with pytest.raises(NotProven, match="engine, generated: moved by 0"):
        prove_real_model(embedded, "assistant", llama_alone)


def test_the_proof_fails_if_the_engines_metrics_did_not_move(
    through_llama: Gateway, llama_alone: LlamaServer
) -> None:
    """The same weights, the same words, but another engine than the one that was asked to witness."""
    with pytest.raises(NotProven, match="moved by 0"):
        prove_real_model(through_llama, MODEL, llama_alone)


def test_the_proof_fails_on_a_recorded_answer(
    recording: str, make_gateway: Callable[[str], Gateway], llama_alone: LlamaServer
) -> None:
    """A stand-in that shows the real engine's health and metrics, and even makes it work."""
    gateway = make_gateway(f"adapter: {{engine: llamacpp, endpoint: {recording}}}")
    with pytest.raises(NotProven, match="the engine itself says"):
        prove_real_model(gateway, MODEL, llama_alone)


@pytest.fixture
def recording(llama_alone: LlamaServer) -> Iterator[str]:
    """Plays back one stream of the real server, whatever is asked; all else is the real server's."""
    words = [{"role": "user", "content": "Write a story about a harbour."}]
    asked = {"messages": words, "stream": True, "stream_options": {"include_usage": True}}
    tape = sse(
        f"{llama_alone.url}/v1/chat/completions",
        asked | {"max_tokens": TOKENS, "temperature": 0, "logprobs": True, "top_logprobs": 3},
    )
    server = ThreadingHTTPServer(("127.0.0.1", 0), _player(llama_alone, tape))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def _player(real: LlamaServer, tape: bytes) -> type[BaseHTTPRequestHandler]:
    class Player(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._say(get(f"{real.url}{self.path}"))

        def do_POST(self) -> None:
            asked = self.rfile.read(int(self.headers["Content-Length"]))
            live = post(f"{real.url}{self.path}", asked)  # so that its counters move as they should
            self._say(live._replace(body=_usage_of(live.body).join(tape.split(_usage_of(tape)))))

        def _say(self, answer: Answer) -> None:
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.headers["content-type"])
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    return Player


def _usage_of(stream: bytes) -> bytes:
    """The bytes of a stream that tell the usage."""
    return stream.rpartition(b'"usage":')[2].partition(b',"timings"')[0]
