"""OpenAI's Responses, as clients speak it to the gateway. Its errors are those of OpenAI's other endpoints."""

from collections.abc import Mapping

from contracts.errors import GatewayError
from contracts.inference import Operation
from gateway.inbound.responses_answer import ResponsesVoice
from gateway.inbound.responses_request import read_responses
from gateway.tongues import Asked


class ResponsesTongue:
    """A Tongue."""

    operation: Operation = "chat"

    def read(self, body: bytes, *, request_id: str, key: str, headers: Mapping[str, str]) -> Asked:
        infer, repeated, origins = read_responses(
            body, request_id=request_id, key=key, headers=headers
        )
        return Asked(infer=infer, voice=ResponsesVoice(repeated=repeated, origins=origins))

    def error(self, error: GatewayError, request_id: str) -> bytes:
        return error.encode(request_id)
