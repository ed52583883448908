"""A fake of Triton's OpenAI frontend on a real socket: it knows the members of its schemas and no others.

Held to the frontend's source; the real one needs a GPU and an image.
"""

from typing import Any

from aiohttp import web

from tests.fakes import openai_words, triton_words
from tests.fakes.answers import Answer, Refusal
from tests.fakes.provider import FakeProvider

_KNOWN = frozenset(
    {
        "messages",
        "model",
        "frequency_penalty",
        "ignore_eos",
        "logit_bias",
        "logprobs",
        "top_logprobs",
        "max_completion_tokens",
        "max_tokens",
        "min_tokens",
        "n",
        "presence_penalty",
        "response_format",
        "seed",
        "stop",
        "stream",
        "stream_options",
        "temperature",
        "top_p",
        "tools",
        "tool_choice",
        "user",
        "function_call",
        "functions",
    }
)


class FakeTritonOpenAI(FakeProvider):
    ready = True

    def routes(self, app: web.Application) -> None:
        app.router.add_get("/health/ready", self._ready)
        app.router.add_get("/v1/models", self._models)
        app.router.add_post("/v1/chat/completions", self._chat)

    async def _ready(self, request: web.Request) -> web.Response:
        return web.Response(status=200 if self.ready else 400)

    async def _models(self, request: web.Request) -> web.Response:
        return self.json(openai_words.model_list(triton_words.MODEL))

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        asked = await self.kept(request)
        answer = complaint(asked.body) or self.next_answer()
        if isinstance(answer, Refusal):
            return self.error(answer)
        stream = triton_words.openai_stream(answer) if isinstance(answer, Answer) else answer
        return await self.stream(request, stream)


def complaint(body: Any) -> Refusal | None:
    """What its schema and its validation say."""
    for name in body:
        if name not in _KNOWN:
            wrong = {"type": "extra_forbidden", "loc": ["body", name], "msg": "Extra inputs"}
            return triton_words.detail(422, [wrong])
    if body["model"] != triton_words.MODEL:
        return triton_words.detail(400, f"Unknown model: {body['model']}")
    if body.get("logit_bias") is not None:
        return triton_words.detail(400, "logit bias is not currently supported")
    if body.get("n", 1) > 1:
        return triton_words.detail(
            400, "Received n=2, but only single choice (n=1) is currently supported"
        )
    return None
