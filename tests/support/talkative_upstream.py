"""A backend that tells everything it knows: each refusal quotes all the headers it was sent.

It speaks OpenAI's language. What a request says decides what becomes of it: `break` breaks its stream off,
`leak` is answered with the caller's credentials, `quote` with 400, `refuse` and anything that is no chat with 401.
"""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path.partition("?")[0].endswith("/models"):
            self._whole(200, {"object": "list", "data": [{"id": "talker", "object": "model"}]})
        else:
            self._refuse(404)

    def do_POST(self) -> None:
        asked = self.rfile.read(int(self.headers.get("content-length", 0)))
        if b"quote" in asked:
            self._refuse(400)
            return
        if b"refuse" in asked or not self.path.endswith("/chat/completions"):
            self._refuse(401)
            return
        words = ["Hel", "lo"]
        if b"leak" in asked:
            words = [f" {value}" for value in self.headers.values()]
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        for word in words:
            self._chunk({"content": word}, None)
        if b"break" not in asked:
            self._chunk({}, "stop")
            self.wfile.write(b"data: [DONE]\n\n")
        self.close_connection = True

    def _chunk(self, delta: dict[str, Any], finish: str | None) -> None:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "talker"}
        self.wfile.write(b"data: %b\n\n" % json.dumps({**chunk, "choices": [choice]}).encode())

    def _refuse(self, status: int) -> None:
        told = "; ".join(f"{name}: {value}" for name, value in self.headers.items())
        error = {"message": f"you sent {told}", "type": "authentication_error", "code": told}
        self._whole(status, {"error": error})

    def _whole(self, status: int, told: object) -> None:
        body = json.dumps(told).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *told: object) -> None:
        """Nothing: the tests' own output is not looked at."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *told: object) -> None:
        """A client that left is no news."""


class TalkativeUpstream:
    """`with TalkativeUpstream() as upstream:` it listens on `upstream.url`."""

    def __init__(self) -> None:
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        return "http://{}:{}".format(*self._server.server_address[:2])

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
