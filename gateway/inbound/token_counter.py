"""`POST /v1/messages/count_tokens`: how long a prompt is, by the tokenizer of the backend that would read it.

Nothing is generated, nothing counts against a budget; a header says where the number is an estimate.
"""

import logging

import msgspec
from aiohttp import web

from contracts.anthropic_api import TokenCountAnswer
from gateway import logs
from gateway.http_request import ASKED
from gateway.inbound.messages_request import read_count
from gateway.reception import Reception
from gateway.routing_plan import plan
from gateway.runtime import Gateway
from gateway.token_count import count_prompt

ESTIMATED = "x-setpoint-tokens-estimated"
_encode = msgspec.json.Encoder().encode


class TokenCounter:
    """One gateway's."""

    def __init__(self, gateway: Gateway, reception: Reception) -> None:
        self._gateway = gateway
        self._reception = reception

    async def answer(self, request: web.Request) -> web.Response:
        """Raises GatewayError for a caller, a body or a model that is wrong."""
        gateway, catalog = self._gateway, self._gateway.catalog
        arrival = await self._reception.received(request[ASKED])
        infer = read_count(
            arrival.body,
            request_id=arrival.request_id,
            key=arrival.caller.name,
            headers=arrival.headers,
        )
        decision = gateway.decide(infer.facts, gateway.policy, catalog)
        counted = await count_prompt(infer, plan(decision, catalog), catalog, gateway.pools)
        logs.event(
            logging.INFO,
            "tokens_counted",
            request_id=infer.request_id,
            key=infer.facts.key or None,
            model=infer.facts.model,
            tokens=counted.tokens,
            estimated=counted.estimated,
        )
        return web.Response(
            body=_encode(TokenCountAnswer(input_tokens=counted.tokens)),
            headers={
                "x-request-id": infer.request_id,
                ESTIMATED: "true" if counted.estimated else "false",
            },
            content_type="application/json",
        )
