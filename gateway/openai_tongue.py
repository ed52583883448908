"""OpenAI's own language, which everything behind the edge speaks as well: chats, completions, embeddings.

Nothing is translated here; `gateway.intake` reads and `gateway.answers` writes.
"""

from collections.abc import Mapping

import msgspec

from contracts.errors import GatewayError
from contracts.inference import Operation
from gateway.answers import Fold, Identity, StreamWriter
from gateway.intake import read_request
from gateway.tongues import Asked, Cost


class OpenAIVoice(msgspec.Struct, frozen=True, kw_only=True):
    """A Voice."""

    include_usage: bool

    def writer(self, identity: Identity, *, cost: Cost, max_bytes: int) -> StreamWriter:
        return StreamWriter(identity, include_usage=self.include_usage, cost=cost)

    def folding(self, identity: Identity, *, max_bytes: int) -> Fold:
        return Fold(identity, max_bytes=max_bytes)

    def error(self, error: GatewayError, request_id: str) -> bytes:
        return error.encode(request_id)


_PLAIN, _WITH_USAGE = OpenAIVoice(include_usage=False), OpenAIVoice(include_usage=True)


class OpenAITongue:
    """A Tongue, of one operation."""

    def __init__(self, operation: Operation) -> None:
        self.operation: Operation = operation

    def read(self, body: bytes, *, request_id: str, key: str, headers: Mapping[str, str]) -> Asked:
        infer = read_request(body, self.operation, request_id=request_id, key=key, headers=headers)
        return Asked(infer=infer, voice=_WITH_USAGE if infer.include_usage else _PLAIN)

    def error(self, error: GatewayError, request_id: str) -> bytes:
        return error.encode(request_id)
