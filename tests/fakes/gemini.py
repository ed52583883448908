"""A fake Gemini on a real socket: it checks what it is asked, and answers in Gemini's words.

It is proven by the official SDK (`tests/fakes/test_gemini.py`).
"""

from collections.abc import Sequence

from aiohttp import web

from tests.fakes import gemini_words
from tests.fakes.answers import Answer, Refusal
from tests.fakes.gemini_rules import complaint
from tests.fakes.provider import FakeProvider, Said


class FakeGemini(FakeProvider):
    identity = {"server": "scaffolding on HTTPServer2", "server-gemini-service-tier": "standard"}

    def __init__(self, *answers: Said, cut: int = 1_000_000) -> None:
        super().__init__(*answers, cut=cut)
        self.models: Sequence[str] = (gemini_words.MODEL,)

    def routes(self, app: web.Application) -> None:
        app.router.add_get("/v1/models", self._models)
        app.router.add_post("/v1/{model:(models|tunedModels)/[^:/]+}:{method}", self._ask)

    async def _models(self, request: web.Request) -> web.Response:
        if request.headers.get("x-goog-api-key", "wrong") == "wrong":
            return self.error(gemini_words.wrong_key())
        return self.json(gemini_words.model_list(*self.models))

    async def _ask(self, request: web.Request) -> web.StreamResponse:
        asked = await self.kept(request)
        model, method = request.match_info["model"], request.match_info["method"]
        if method == "batchEmbedContents":
            return self._embeddings(asked.body, model)
        refused = complaint(asked.headers, model, asked.body)
        if refused is not None:
            return self.error(refused)
        answer = self.next_answer()
        if isinstance(answer, Refusal):
            return self.error(answer)
        if method == "generateContent":
            assert isinstance(answer, Answer), "bytes are a stream"
            return self.json(gemini_words.document(answer))
        assert method == "streamGenerateContent"
        assert request.query.get("alt") == "sse", "without it the answer is a list"
        stream = gemini_words.stream(answer) if isinstance(answer, Answer) else answer
        return await self.stream(request, stream)

    def _embeddings(self, body: object, model: str) -> web.Response:
        """Of each text its length, in as many dimensions as are asked."""
        assert isinstance(body, dict)
        vectors = []
        for asked in body["requests"]:
            if asked["model"] != model:
                said = "requests[0].model: model must match the path"
                return self.error(gemini_words.refusal("INVALID_ARGUMENT", said))
            text = asked["content"]["parts"][0]["text"]
            vectors.append([len(text) / 16] * asked.get("outputDimensionality", 3))
        return self.json(gemini_words.embeddings(vectors))
