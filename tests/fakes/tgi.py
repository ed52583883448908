"""A fake TGI 3 on a real socket: strict where its router is, and wrong where that is.

An overload is 429 before a stream, and an event that calls itself 422 inside one. Its text keeps the stop
sequence that ended it. Nobody publishes a client or a binary for this machine: it is held to the router's
source and to its recorded answers.
"""

from typing import Any

from aiohttp import web

from tests.fakes import openai_words, tgi_words
from tests.fakes.answers import Answer, Refusal
from tests.fakes.provider import FakeProvider, Said

_ROLES = frozenset({"system", "user", "assistant", "tool"})


class FakeTgi(FakeProvider):
    identity = {"x-compute-type": "1-nvidia-a100", "x-compute-characters": "2"}

    def __init__(self, *answers: Said, cut: int = 1_000_000) -> None:
        super().__init__(*answers, cut=cut)
        self.info: dict[str, Any] = {}
        """Changes of what `/info` says."""
        self.healthy = True
        self.api_key: str | None = None

    def routes(self, app: web.Application) -> None:
        app.router.add_get("/health", self._health)
        app.router.add_get("/info", self._info)
        app.router.add_get("/v1/models", self._models)
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_post("/generate_stream", self._generate)

    async def _health(self, request: web.Request) -> web.Response:
        if self.healthy:
            return web.Response()
        return self.error(tgi_words.refusal(503, "unhealthy", "healthcheck"))

    async def _info(self, request: web.Request) -> web.Response:
        return self.json(tgi_words.info(**self.info))

    async def _models(self, request: web.Request) -> web.Response:
        return self.json(openai_words.model_list(tgi_words.MODEL))

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        asked = await self.kept(request)
        answer = self._refused(request, chat_complaint(asked.body)) or self.next_answer()
        if isinstance(answer, Refusal):
            return self.error(answer)
        ending = _ending(answer, asked.body.get("stop"))
        return await self.stream(
            request,
            answer if isinstance(answer, bytes) else tgi_words.stream(answer, ending=ending),
        )

    async def _generate(self, request: web.Request) -> web.StreamResponse:
        asked = await self.kept(request)
        answer = self._refused(request, text_complaint(asked.body)) or self.next_answer()
        if isinstance(answer, Refusal):
            return self.error(answer)
        ending = _ending(answer, asked.body["parameters"].get("stop"))
        return await self.stream(
            request,
            answer if isinstance(answer, bytes) else tgi_words.text_stream(answer, ending=ending),
        )

    def _refused(self, request: web.Request, complaint: str | None) -> Refusal | None:
        given = request.headers.get("authorization", "")
        if self.api_key is not None and given.lower() != f"bearer {self.api_key}".lower():
            return Refusal(status=401, body=b"")
        if complaint is None:
            return None
        return tgi_words.refusal(422, f"Input validation error: {complaint}", "validation")


def _ending(answer: Answer | bytes, stop: list[str] | None) -> str:
    told = isinstance(answer, Answer) and answer.stop_sequence in (stop or ())
    return answer.stop_sequence or "" if told and isinstance(answer, Answer) else ""


def chat_complaint(body: Any) -> str | None:
    """Why the router would not take a chat. Members that it does not know it passes over."""
    if not isinstance(body.get("stop", []), list):
        return "invalid type: string, expected a sequence"
    if len(body.get("stop", [])) > 4:
        return "`stop` supports up to 4 stop sequences"
    if not isinstance(body.get("logit_bias", []), list):
        return "invalid type: map, expected a sequence"
    if not 0 < body.get("top_p", 0.5) < 1:
        return "`top_p` must be > 0.0 and < 1.0"
    for message in body["messages"]:
        if message["role"] not in _ROLES:
            return f"Template error: unknown role {message['role']}"
    for tool in body.get("tools", ()):
        if "parameters" not in tool["function"] and "arguments" not in tool["function"]:
            return "missing field `arguments`"
    wanted = body.get("response_format")
    if wanted is not None and (wanted["type"] not in _GRAMMARS or "value" not in wanted):
        return "missing field `value`"
    if wanted is not None and body.get("tools"):
        return "Grammar and tools are mutually exclusive"
    return None


_GRAMMARS = frozenset({"json", "json_object", "json_schema", "regex"})


def text_complaint(body: Any) -> str | None:
    """Why the router would not take a text."""
    parameters = body["parameters"]
    if not isinstance(body["inputs"], str) or not body["inputs"]:
        return "`inputs` cannot be empty"
    if parameters.get("temperature", 1) <= 0:
        return "`temperature` must be strictly positive"
    if not 0 < parameters.get("top_p", 0.5) < 1:
        return "`top_p` must be > 0.0 and < 1.0"
    if parameters.get("max_new_tokens", 1) <= 0:
        return "`max_new_tokens` must be strictly positive"
    if parameters.get("best_of", 1) != 1:
        return "`best_of` != 1 is not supported when streaming tokens"
    return None
