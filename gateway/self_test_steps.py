"""The steps of one self-test, on one place of a pool: what an endpoint is asked, and what must come of it.

A few tokens come to their end; a longer answer is cancelled at its first token, and the endpoint answers
again; usage, version and models are told and not guessed. Through the same dialect, transport and attempt
as every request. Must stay true: each step is bounded in time, and all of it ends when somebody waits
for the pool. When and where to test is not decided here.
"""

import asyncio
from collections.abc import Callable

import msgspec

from adapters.dialect import AttemptContext
from contracts.catalog import ModelCard
from contracts.config import Engine
from contracts.errors import ConnectFailed, GatewayError, UpstreamFault
from contracts.events import Event, Usage
from contracts.inference import Constraints, InferRequest
from contracts.pool_answers import Check, SelfTestFailure
from gateway.attempt import Attempt
from gateway.intake import read_request
from gateway.pools import Pool
from gateway.slot import Slot

DECODE_S, CANCEL_S, FREE_S = 20.0, 10.0, 10.0
"""The most that the steps may take: the first one may find a cold engine."""
SHORT_TOKENS, LONG_TOKENS = 8, 512
LOOK_S = 0.05
"""How often a running test looks whether somebody waits."""
LOWEST = -1000
_BODY = (
    b'{"model":"self-test","temperature":0,'
    b'"messages":[{"role":"user","content":"Count from 1 to 100, one number a line."}]}'
)
"""The dialect puts the backend's own name of the model there, and the limit beside it."""
_TELLS: dict[Engine, tuple[str, ...]] = {
    "llamacpp": ("version", "model_digest", "models"),
    "vllm": ("version", "models"),
    "embedded": ("version", "models"),
}
"""What an engine's probes must have told. Others tell their models; a router in front of llm-d need
not let its engines' version through."""
_GENERATES_NOT = ("does not support", "not supported", "embedding")
"""In the refusal of a model that only embeds, and of a server that was started for that alone."""


class GaveWay(Exception):
    """Somebody waits for the place, or the pool is out of service."""


class GeneratesNot(Exception):
    """The model does not generate text; `why` in the engine's words."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class _Turn(Slot, kw_only=True):
    """A slot that lasts for several attempts: one of them releasing it ends that attempt only."""

    over: asyncio.Event

    @classmethod
    def at(cls, whole: Slot) -> "_Turn":
        return cls(*msgspec.structs.astuple(whole), over=asyncio.Event())

    def ended(self, error: GatewayError | None) -> None:
        """What a test finds is in its report: no request is steered by it."""

    def release(self) -> None:
        self.over.set()


class _Unread:
    """What is generated is for nobody."""

    def events(self, events: list[Event]) -> None:
        pass


class Trial:
    """One test of one model. The slot stays the caller's. `plain` puts an error into words that are fit
    for anybody."""

    def __init__(
        self,
        pool: Pool,
        slot: Slot,
        card: ModelCard,
        *,
        plain: Callable[[GatewayError], str],
        new_id: Callable[[], str],
    ) -> None:
        self._pool = pool
        self._slot = slot
        self._card = card
        self._plain = plain
        self._new_id = new_id

    async def run(self) -> list[SelfTestFailure]:
        """What failed. Raises GaveWay, ConnectFailed, GeneratesNot where there is no verdict."""
        failed: list[SelfTestFailure] = []
        step: Check = "decode"
        late = f"it was not done within {DECODE_S:g} s"
        try:
            async with asyncio.timeout(DECODE_S):
                usage = await self._decode(SHORT_TOKENS)
            failed += self._untold(usage)
            step, late = "cancel", f"no token came within {CANCEL_S:g} s"
            async with asyncio.timeout(CANCEL_S):
                await self._cancel_at_first_token()
            late = f"after a cancelled answer it did not answer within {FREE_S:g} s"
            async with asyncio.timeout(FREE_S):
                await self._decode(1)
        except TimeoutError:
            failed.append(SelfTestFailure(check=step, why=late))
        except ConnectFailed:
            raise
        except GatewayError as exc:
            why = self._plain(exc)
            if step == "decode" and _refuses_to_generate(exc):
                raise GeneratesNot(why) from exc
            failed.append(SelfTestFailure(check=step, why=why))
        return failed

    async def _decode(self, tokens: int) -> Usage | None:
        """A short answer to its end, and its usage. Raises GatewayError."""
        turn = _Turn.at(self._slot)
        attempt = self._attempt(tokens, turn)
        try:
            attempt.start()
            await self._until(attempt.committed)
            await self._until(attempt.finished)
            if attempt.fault is not None:
                raise attempt.fault
            attempt.let_go()
            await turn.over.wait()  # the connection ends properly, or is ended: a second at most
        finally:
            attempt.cancel()
        return attempt.usage

    async def _cancel_at_first_token(self) -> None:
        attempt = self._attempt(LONG_TOKENS, _Turn.at(self._slot))
        try:
            attempt.start()
            await self._until(attempt.committed)
        finally:
            attempt.cancel()

    def _untold(self, usage: Usage | None) -> list[SelfTestFailure]:
        """What telemetry lacks."""
        state = self._slot.endpoint.state
        must_tell = _TELLS.get(self._pool.engine, ("models",))
        lacking = [
            f"it does not tell its {name.replace('_', ' ')}"
            for name in must_tell
            if not getattr(state, name)
        ]
        if usage is None or usage.estimated:
            lacking.insert(0, "it reports no usage, so tokens are estimated")
        return [SelfTestFailure(check="telemetry", why=why) for why in lacking]

    def _attempt(self, tokens: int, turn: _Turn) -> Attempt:
        options = self._pool.options
        return Attempt(
            self._request(),
            AttemptContext(
                upstream_model=self._card.upstream,
                max_tokens=tokens,
                constraints=Constraints(priority=LOWEST),
                api_key=options.api_key.reveal() if options.api_key else None,
                context=turn.endpoint.state.context or self._card.context,
                priority_scheduling=options.priority_scheduling,
                unsupported="drop",
                template=self._card.template,
            ),
            dialect=self._pool.dialect,
            slot=turn,
            sink=_Unread(),
            timeouts=options.timeouts,
            is_last=True,
            new_id=self._new_id,
            clock=self._pool.now_s,
        )

    def _request(self) -> InferRequest:
        request_id = f"selftest_{self._new_id()}"
        return read_request(_BODY, "chat", request_id=request_id, key="", headers={})

    async def _until(self, future: "asyncio.Future[None]") -> None:
        """Raises what `future` holds, or GaveWay."""
        while not future.done():
            await asyncio.wait((future,), timeout=LOOK_S)
            if self._pool.queue.waiting or self._pool.state != "serving":
                raise GaveWay
        if future.cancelled():
            raise UpstreamFault("the answer ended before it began")
        future.result()


def _refuses_to_generate(error: GatewayError) -> bool:
    if not isinstance(error, UpstreamFault) or error.fault not in ("client", "not_found"):
        return False
    message = error.message.lower()
    if message == "not found":
        return True  # vLLM has no such path at all in front of a model that only embeds
    return any(text in message for text in _GENERATES_NOT)
