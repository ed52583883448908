"""A fake Ollama on a real socket: it checks what it is asked, and answers in Ollama's words.

It is proven by the official SDK (`tests/fakes/test_ollama.py`). Streams unless it is told not to, as the real one.
"""

from aiohttp import web

from tests.fakes import ollama_words
from tests.fakes.answers import Answer, Refusal
from tests.fakes.ollama_rules import complaint
from tests.fakes.provider import FakeProvider, Said


class FakeOllama(FakeProvider):
    stream_type = "application/x-ndjson"

    def __init__(self, *answers: Said, cut: int = 1_000_000) -> None:
        super().__init__(*answers, cut=cut)
        self.models: tuple[str, ...] = (ollama_words.MODEL,)

    def routes(self, app: web.Application) -> None:
        app.router.add_get("/api/version", self._version)
        app.router.add_get("/api/tags", self._tags)
        for path in ("/api/chat", "/api/generate", "/api/embed"):
            app.router.add_post(path, self._ask)

    async def _version(self, request: web.Request) -> web.Response:
        return self.json(b'{"version":"0.21.0"}')

    async def _tags(self, request: web.Request) -> web.Response:
        return self.json(ollama_words.model_list(*self.models))

    async def _ask(self, request: web.Request) -> web.StreamResponse:
        asked = await self.kept(request)
        refused = complaint(request.path, asked.body, self.models)
        if refused is not None:
            return self.error(refused)
        answer = self.next_answer()
        if isinstance(answer, Refusal):
            return self.error(answer)
        if request.path == "/api/embed":
            return self._embeddings(asked.body)
        chat = request.path == "/api/chat"
        if not asked.body.get("stream", True):
            assert isinstance(answer, Answer), "bytes are a stream"
            at_once = ollama_words.document if chat else ollama_words.completion_at_once
            return self.json(at_once(answer))
        if isinstance(answer, Answer):
            answer = (ollama_words.stream if chat else ollama_words.completion)(answer)
        return await self.stream(request, answer)

    def _embeddings(self, body: dict[str, object]) -> web.Response:
        """Of each text its length, in as many dimensions as are asked."""
        given, dimensions = body["input"], body.get("dimensions", 3)
        assert isinstance(dimensions, int)
        texts = given if isinstance(given, list) else [given]
        vectors = [[len(text) / 16] * dimensions for text in texts]
        return self.json(ollama_words.embeddings(vectors, 2 * len(texts)))
