"""A dialect as a plug-in: Parlance, a made-up engine that streams its words as events, and nothing else."""

from collections.abc import Mapping

import msgspec

from adapters.chat_request import Members, messages_of, token_limit_of
from adapters.dialect import AttemptContext, Dialect, EndpointState, WireHead, WireRequest
from adapters.event_stream import EventStreamDecoder
from adapters.openai_faults import class_of_status
from adapters.unsupported import Cannot
from contracts.errors import UpstreamFault
from contracts.events import Delta, Event, Finish
from contracts.inference import InferRequest

OURS = {"model": None, "stream": None, "stream_options": None}  # decided by the gateway


class Parlance(Dialect):
    engine = "parlance"

    def request(self, infer: InferRequest, attempt: AttemptContext) -> WireRequest:
        cannot = Cannot(self.engine, attempt.unsupported)
        if infer.operation != "chat" or infer.facts.n > 1:
            cannot.refuse("n" if infer.operation == "chat" else infer.operation)
        given = {n: v for n, v in {**infer.members, **attempt.overrides}.items() if n not in OURS}
        asked = Members(given, {"n": 1})
        said = [f"{m.role}: {p.text}" for m in messages_of(asked) for p in m.parts() if p.text]
        words = token_limit_of(asked, attempt.max_tokens)
        for name in asked.left():
            cannot.parameter(name)  # refused, or dropped with a word, as the pool says
        body = msgspec.json.encode({"voice": attempt.upstream_model, "said": said, "words": words})
        headers = self.access(attempt.api_key)
        return WireRequest(
            method="POST", path="/speak", headers=headers, body=body, dropped=cannot.dropped
        )

    def decoder(self, infer: InferRequest, attempt: AttemptContext, head: WireHead) -> "Words":
        return Words()

    def fault(self, head: WireHead, body: bytes) -> UpstreamFault:
        return UpstreamFault(f"it answered {head.status}", fault=class_of_status(head.status))

    def probes(self) -> tuple[str, ...]:
        return ("/voices",)

    def state(self, answers: Mapping[str, tuple[WireHead, bytes]]) -> EndpointState:
        found = answers.get("/voices")
        ready = found is not None and found[0].status == 200
        return EndpointState(live=found is not None, ready=ready, why="asked for its voices")


class Words(EventStreamDecoder):
    def read(self, name: str, data: bytes, out: list[Event]) -> None:
        try:
            said = msgspec.json.decode(data, type=str)
        except msgspec.MsgspecError:
            self.broken("it did not send a word", out)
        else:
            out.append(Finish(reason=said) if name == "done" else Delta(content=said))
