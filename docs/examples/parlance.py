"""A dialect as a plug-in: Parlance, a made-up engine that streams its words as events, and nothing else."""

from collections.abc import Mapping

import msgspec

from adapters.chat_messages import placed, words_of
from adapters.chat_request import messages_of, token_limit_of
from adapters.dialect import AttemptContext, Dialect, EndpointState, WireHead, WireRequest
from adapters.event_stream import EventStreamDecoder
from adapters.model_list import state_by_list
from adapters.openai_faults import class_of_status
from adapters.request_members import members_of, refuse_many
from adapters.unsupported import Cannot
from contracts.errors import UpstreamFault
from contracts.events import Delta, Event, Finish
from contracts.inference import InferRequest


class Parlance(Dialect):
    engine = "parlance"

    def request(self, infer: InferRequest, attempt: AttemptContext) -> WireRequest:
        cannot = Cannot(self.engine, attempt.unsupported)
        if infer.operation != "chat":
            cannot.refuse(infer.operation)
        refuse_many(infer, cannot)
        asked = members_of(infer, attempt)
        chat = placed(messages_of(asked), cannot)  # what is no words is refused, with its place
        said = [f"{m.role}: {words_of(m, where, cannot)}" for where, m in chat]
        words = token_limit_of(asked, attempt.max_tokens)
        for name in asked.left():
            cannot.parameter(name)  # refused, or dropped with a word, as the pool says
        body = msgspec.json.encode({"voice": attempt.upstream_model, "said": said, "words": words})
        headers = (("content-type", "application/json"), *self.access(attempt.api_key))
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
        return state_by_list(answers.get("/voices"), self.fault, lambda voices: ())


class Words(EventStreamDecoder):
    def read(self, name: str, data: bytes, out: list[Event]) -> None:
        try:
            said = msgspec.json.decode(data, type=str)
        except msgspec.MsgspecError:
            self.broken("it did not send a word", out)
        else:
            out.append(Finish(reason=said) if name == "done" else Delta(content=said))
