"""`GET /v1/intents` and `GET /v1/decisions`: is each promise kept, what was decided, and did it work."""

import logging

import msgspec
from aiohttp import web
from aiohttp_sse import EventSourceResponse, sse_response

from contracts.control import IntentStatus, LoggedDecision
from contracts.errors import InvalidField
from contracts.operator_answers import DecisionList, IntentHonour, IntentList, IntentReport
from gateway import logs
from gateway.control import Control, when
from gateway.http_request import ASKED
from gateway.runtime import Gateway
from policies.loop import RECENT_DECISIONS

PING_S = 15.0
SLOW_S = 10.0
"""How long a listener may take nothing before it is cut; so long it can hold up the way down."""
_encode = msgspec.json.Encoder().encode


class ControlEndpoints:
    """The handlers of one gateway; whoever calls has been authenticated."""

    def __init__(self, gateway: Gateway, control: Control) -> None:
        self._gateway = gateway
        self._control = control

    def intents(self) -> bytes:
        """Every promise: objective, measured, standing, rungs, since when."""
        gateway = self._gateway
        now_s = gateway.clock()
        reports = [self._report(status, now_s) for status in gateway.loop.statuses(now_s)]
        return _encode(IntentList(data=reports))

    async def decisions(self, request: web.Request) -> web.StreamResponse | bytes:
        """The newest decisions as JSON; as an event stream for who asks for one. Raises InvalidField,
        TooManyConnections."""
        if "text/event-stream" in request.headers.get("accept", ""):
            return await self._stream(request)
        limit = _whole(request.query.get("limit", "100"), "limit", RECENT_DECISIONS)
        after = _whole(request.query.get("after", "0"), "after", 2**53)
        intent = request.query.get("intent")
        found = [
            decision
            for decision in self._control.decisions.recent(after=after)
            if intent is None or decision.intent == intent
        ]
        return _encode(DecisionList(data=found[-limit:] if limit else []))

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        """Each decision as an event with its number as id; `Last-Event-ID` takes up where it ended."""
        last = request.headers.get("last-event-id")
        after = None if last is None else _whole(last, "last-event-id", 2**53)
        told = {"x-request-id": request[ASKED].request_id}
        # Listens before the head goes out: whoever has seen it misses nothing that comes then.
        with self._control.decisions.listen(after) as decisions:
            async with sse_response(
                request, headers=told, ping_interval=PING_S, send_timeout=SLOW_S
            ) as response:
                async for decision in decisions:
                    await _send(response, decision)
        return response

    def _report(self, status: IntentStatus, now_s: float) -> IntentReport:
        fields = msgspec.structs.asdict(status)
        return IntentReport(
            **fields,
            since=when(self._gateway, now_s - status.standing_s),
            infrastructure=self._honours(status.intent),
        )

    def _honours(self, name: str) -> list[IntentHonour]:
        """Whether the backends that know of intents keep this one, as far as it can be seen."""
        return [
            IntentHonour(pool=pool, verdict=state.verdict, why=state.why)
            for pool, state in self._gateway.honour_watch.states(name).items()
        ]


async def _send(response: EventSourceResponse, decision: LoggedDecision) -> None:
    """Raises ConnectionError where nobody reads any more."""
    try:
        data = _encode(decision).decode()
        await response.send(data, id=str(decision.seq), event="decision")
    except TimeoutError as exc:
        logs.event(logging.WARNING, "slow_reader", seconds=SLOW_S)
        raise ConnectionResetError("the listener takes nothing") from exc


def _whole(text: str, name: str, most: int) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 16 or int(text) > most:
        raise InvalidField(f"{name} must be a whole number from 0 to {most}", param=name)
    return int(text)
