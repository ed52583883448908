"""Going on with a stream that broke, without a lie: what the client has, and what another attempt repeats of it.

The client has seen some text. A second attempt that begins anew says it again, perhaps otherwise. `Replay` drops
what is the same, passes on what comes after, and says so at the first difference: from there on nobody may go on
as if it were one text. Pieces are cut anywhere, so texts are compared, not events. Pure.

A tool call's id is made up anew by every attempt; the client keeps the one it has.
"""

from collections.abc import Iterable, Mapping

import msgspec

from contracts.errors import REPEATABLE, FaultClass, GatewayError, UpstreamFault
from contracts.events import Delta, Event, Finish, Opened, ToolCallDelta
from contracts.inference import InferRequest, RoutingPlan

_WORTH_RESUMING: frozenset[FaultClass] = REPEATABLE | {"stream_broken"}
"""A refusal of the content, or of the caller, is the answer."""
_encode = msgspec.json.Encoder().encode
SENT_MAX_CHARS = 4 * 1024 * 1024
"""A stream that has sent more than this is not kept for resuming."""


class Way(msgspec.Struct, frozen=True, kw_only=True):
    """How a broken stream may be gone on with: by which target of the plan, and whether it `continues` the text
    that it is shown or says all of it again. `exact`: it is shown the blanks at the end as well."""

    position: int
    continues: bool
    exact: bool = False


def ways(plan: RoutingPlan, broke_at: int, *, stalled: bool) -> list[Way]:
    """In the order to try them. Continuing comes first, since it cannot contradict what was sent; the target
    that broke comes first of each kind, since it is the likeliest to say the same again. One that `stalled`
    comes last: its client has waited for it long enough."""
    count = len(plan.targets)
    order = [(broke_at + step) % count for step in range(stalled, count + stalled)]
    able = [p for p in order if plan.targets[p].prefill] if plan.resume == "continue" else []
    return [
        *(Way(position=position, continues=True) for position in able),
        *(Way(position=position, continues=False) for position in order),
    ]


def continued(infer: InferRequest, text: str) -> InferRequest | None:
    """The request whose answer begins with `text` already: as the chat's last message, or at the end of
    the prompt. `text` had better not end with a blank: some refuse that, templates cut it off, and tokens
    begin with one. None: it cannot be said (nothing to continue, several prompts, a prompt of token numbers)."""
    if not text:
        return None
    members = dict(infer.members)
    if infer.operation == "chat":
        begun = msgspec.Raw(_encode({"role": "assistant", "content": text}))
        messages = msgspec.json.decode(members["messages"], type=list[msgspec.Raw])
        members["messages"] = msgspec.Raw(_encode([*messages, begun]))
    else:
        prompt = msgspec.json.decode(members["prompt"])
        if not isinstance(prompt, str):
            return None
        members["prompt"] = msgspec.Raw(_encode(prompt + text))
    return msgspec.structs.replace(infer, members=members, native={})


def worth_resuming(error: GatewayError) -> bool:
    """Whether another attempt could go on where this fault broke a stream."""
    return isinstance(error, UpstreamFault) and error.fault in _WORTH_RESUMING


class Sent:
    """What the client has of one choice. `note` every delta that is sent on."""

    def __init__(self) -> None:
        self._pieces: dict[str, list[str]] = {}
        self._chars = 0
        self.deltas = 0
        """Pieces of content, the nearest that one gets to tokens without the backend's own count."""
        self.comparable = True
        """Another attempt can be held against it: it is of one choice, has nothing that cannot be compared
        (log-probabilities, audio, annotations), and is not too long to be kept."""

    @property
    def content(self) -> str:
        """The text, without reasoning, refusal and tool calls."""
        return "".join(self._pieces.get("content", ()))

    @property
    def only_text(self) -> bool:
        """Nothing but `content`: so it can be continued by whoever is shown the text."""
        return set(self._pieces) <= {"content"}

    def allows(self, way: Way) -> bool:
        """Whether it can be gone on with in that way."""
        return self.comparable and (self.only_text or not way.continues)

    def channels(self) -> dict[str, str]:
        return {name: "".join(pieces) for name, pieces in self._pieces.items()}

    def note(self, events: Iterable[Event]) -> None:
        for event in events:
            if isinstance(event, Delta):
                self._note(event)

    def _note(self, delta: Delta) -> None:
        self.deltas += 1
        if not self.comparable:
            return
        for name, text in _texts(delta):
            self._pieces.setdefault(name, []).append(text)
            self._chars += len(text)
        if _incomparable(delta) or self._chars > SENT_MAX_CHARS:
            self.comparable = False
            self._pieces.clear()


class Diverged(Exception):
    """The other attempt says something else than what the client has. `left` is what it did not say of that."""

    def __init__(self, message: str, *, left: str = "") -> None:
        super().__init__(message)
        self.left = left


class Replay:
    """One attempt that repeats something, held against what was sent: all of it, or the end that it was not
    shown. `pass_on` what it says."""

    def __init__(self, sent: Mapping[str, str]) -> None:
        """`sent` by channel, see `Sent.channels`."""
        self._left = {name: text for name, text in sent.items() if text}

    @property
    def caught_up(self) -> bool:
        """All that the client has was said again."""
        return not self._left

    def pass_on(self, events: Iterable[Event]) -> list[Event]:
        """What of `events` is new to the client. Raises Diverged: nothing of it may be sent on."""
        passed: list[Event] = []
        for event in events:
            match event:
                case Delta():
                    rest = self._rest(event)
                    if rest is not None:
                        passed.append(rest)
                case Opened():
                    pass  # the client has had its head
                case Finish() if self._left:
                    left = "".join(self._left.values())
                    raise Diverged("it ended before all that was sent", left=left)
                case _:
                    passed.append(event)
        return passed

    def _rest(self, delta: Delta) -> Delta | None:
        """The part of a delta that the client does not have; None if it has all of it."""
        if not self._left:
            return delta
        if _incomparable(delta):
            raise Diverged("it cannot be compared")
        calls = [call for piece in delta.tool_calls if (call := self._rest_of(piece)) is not None]
        rest = Delta(
            content=self._new("content", delta.content),
            reasoning=self._new("reasoning", delta.reasoning),
            refusal=self._new("refusal", delta.refusal),
            tool_calls=tuple(calls),
        )
        if not (rest.content or rest.reasoning or rest.refusal or calls):
            return None
        if self._left:  # said in another order, the client would read it in a wrong one
            raise Diverged("it says more before it has said all that was sent")
        return rest

    def _rest_of(self, piece: ToolCallDelta) -> ToolCallDelta | None:
        known = f"name{piece.index}" in self._left or f"arguments{piece.index}" in self._left
        name = self._new(f"name{piece.index}", piece.name or "") or None
        arguments = self._new(f"arguments{piece.index}", piece.arguments)
        if known:
            if name is not None:
                raise Diverged("another tool is called")
            return ToolCallDelta(index=piece.index, arguments=arguments) if arguments else None
        if name is None and not arguments and piece.id is None:
            return None
        return msgspec.structs.replace(piece, name=name, arguments=arguments)

    def _new(self, channel: str, text: str) -> str:
        """What of `text` goes beyond what was sent on this channel."""
        sent = self._left.get(channel)
        if not sent or not text:
            return text
        same = min(len(sent), len(text))
        if sent[:same] != text[:same]:
            agreed = next(i for i in range(same) if sent[i] != text[i])
            raise Diverged(f"its {channel.rstrip('0123456789')} differs", left=sent[agreed:])
        if len(sent) > same:
            self._left[channel] = sent[same:]
        else:
            del self._left[channel]
        return text[same:]


def _incomparable(delta: Delta) -> bool:
    return bool(delta.choice or delta.logprobs is not None or delta.extra)


def _texts(delta: Delta) -> Iterable[tuple[str, str]]:
    yield from (
        (name, text)
        for name, text in (
            ("content", delta.content),
            ("reasoning", delta.reasoning),
            ("refusal", delta.refusal),
        )
        if text
    )
    for call in delta.tool_calls:
        if call.name:
            yield f"name{call.index}", call.name
        if call.arguments:
            yield f"arguments{call.index}", call.arguments
