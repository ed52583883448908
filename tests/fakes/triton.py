"""A fake Triton on a real socket: its health, its repository, and one model behind the generate extension.

Without a terminator of its own: an answer is whole when its chunked body is. `breaks_off` ends one without
the last chunk. What it refuses, and in which words, was seen at Triton 2.51.
"""

from typing import Any

import msgspec
from aiohttp import web

from tests.fakes import triton_words
from tests.fakes.answers import Answer, Refusal
from tests.fakes.provider import Asked, FakeProvider, Said


class FakeTriton(FakeProvider):
    def __init__(self, *answers: Said, cut: int = 1_000_000) -> None:
        super().__init__(*answers, cut=cut)
        self.ready = True
        self.breaks_off = False
        self.counted = False
        """It tells why an answer ended and how long it is, as vLLM's backend does when it is asked."""

    def routes(self, app: web.Application) -> None:
        app.router.add_get("/v2/health/ready", self._ready)
        app.router.add_get("/v2", self._server)
        app.router.add_post("/v2/repository/index", self._index)
        app.router.add_post("/v2/models/{model}/generate_stream", self._generate)
        app.router.add_post("/v2/models/{model}/versions/{version}/generate_stream", self._generate)

    async def _ready(self, request: web.Request) -> web.Response:
        return web.Response(status=200 if self.ready else 400)

    async def _server(self, request: web.Request) -> web.Response:
        return self.json(triton_words.server())

    async def _index(self, request: web.Request) -> web.Response:
        return self.json(triton_words.index(triton_words.MODEL, broken="UNAVAILABLE"))

    async def _generate(self, request: web.Request) -> web.StreamResponse:
        model = request.match_info["model"]
        if model != triton_words.MODEL:
            said = f"Request for unknown model: '{model}' is not found"
            return self.error(triton_words.refusal(404, said))
        try:
            body = msgspec.json.decode(await request.read())
        except msgspec.DecodeError:
            said = "failed to parse the request JSON buffer: Invalid value. at 14"
            return self.error(triton_words.refusal(500, said))
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.asked.append(Asked(request.path_qs, headers, body))
        answer = complaint(body) or self.next_answer()
        if isinstance(answer, Refusal):
            return self.error(answer)
        stream = self._said(answer, body) if isinstance(answer, Answer) else answer
        response = await self.stream(request, stream) if not self.breaks_off else None
        return response or await self._broken_off(request, stream)

    def _said(self, answer: Answer, body: Any) -> bytes:
        return triton_words.stream(answer, counted=self.counted and body["return_finish_reason"])

    async def _broken_off(self, request: web.Request, stream: bytes) -> web.StreamResponse:
        response = web.StreamResponse()
        response.content_type = self.stream_type
        await response.prepare(request)
        await response.write(stream)
        assert request.transport is not None
        request.transport.close()  # no chunk of length 0
        return response


def complaint(body: Any) -> Refusal | None:
    """What the server says of a request before a model sees it. Scalars that nobody knows are parameters."""
    if "text_input" not in body:
        said = (
            "[request id: <id_unknown>] expected number of inputs between 1 and 3 but got 0 inputs for model "
            "'llm'. Got input(s) [], but missing required input(s) ['text_input']. Please provide all required "
            "input(s)."
        )
        return triton_words.refusal(400, said)
    for name, kind in (("max_tokens", "signed-integer"), ("stream", "boolean")):
        if name in body and type(body[name]) is not (int if kind == "signed-integer" else bool):
            said = f"Unable to parse 'data': attempt to access JSON non-{kind} as {kind}"
            return triton_words.refusal(500, said)
    for name, value in body.items():
        if name != "text_input" and (value is None or isinstance(value, list | dict)):
            said = f"parameter '{name}' has invalid type. It should be either 'int', 'bool', or 'string'."
            return triton_words.refusal(400, said)
    return None
