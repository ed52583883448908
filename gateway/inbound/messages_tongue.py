"""Anthropic's Messages API, as clients speak it to the gateway."""

from collections.abc import Mapping

from contracts.errors import GatewayError
from contracts.inference import Operation
from gateway.inbound.messages_answer import MessagesVoice
from gateway.inbound.messages_errors import error_body
from gateway.inbound.messages_request import read_messages
from gateway.tongues import Asked


class MessagesTongue:
    """A Tongue."""

    operation: Operation = "chat"

    def read(self, body: bytes, *, request_id: str, key: str, headers: Mapping[str, str]) -> Asked:
        infer, asked, origins = read_messages(body, request_id=request_id, key=key, headers=headers)
        voice = MessagesVoice(
            prompt_tokens=infer.facts.prompt_tokens,
            stops=frozenset(asked.stop_sequences or ()),
            origins=origins,
        )
        return Asked(infer=infer, voice=voice)

    def error(self, error: GatewayError, request_id: str) -> bytes:
        return error_body(error, request_id)
