"""Going on with a stream that broke, without a lie: what the client has, and what another attempt repeats of it.

The client has seen some text. A second attempt that begins anew says it again, perhaps otherwise. `Replay` drops
what is the same, passes on what comes after, and says so at the first difference: from there on nobody may go on
as if it were one text. Pieces are cut anywhere, so texts are compared, not events. Pure.

A tool call's id is made up anew by every attempt; the client keeps the one it has.
"""

from collections.abc import Iterable

import msgspec

from contracts.events import Delta, Event, Finish, Opened, ToolCallDelta

SENT_MAX_CHARS = 4 * 1024 * 1024
"""A stream that has sent more than this is not kept for resuming."""


class Sent:
    """What the client has of one choice. `note` every delta that is sent on."""

    def __init__(self) -> None:
        self._pieces: dict[str, list[str]] = {}
        self._chars = 0
        self.deltas = 0
        """Pieces of content, the nearest that one gets to tokens without the backend's own count."""
        self.plain = True
        """One choice, and nothing that cannot be compared (log-probabilities, audio, annotations)."""

    @property
    def comparable(self) -> bool:
        """Whether another attempt can be held against it."""
        return self.plain and self._chars <= SENT_MAX_CHARS

    @property
    def content(self) -> str:
        """The text, without reasoning, refusal and tool calls."""
        return "".join(self._pieces.get("content", ()))

    @property
    def only_text(self) -> bool:
        """Nothing but `content`: so it can be continued by whoever is shown the text."""
        return set(self._pieces) <= {"content"}

    def channels(self) -> dict[str, str]:
        return {name: "".join(pieces) for name, pieces in self._pieces.items()}

    def note(self, events: Iterable[Event]) -> None:
        for event in events:
            if isinstance(event, Delta):
                self._note(event)

    def _note(self, delta: Delta) -> None:
        if delta.choice or delta.logprobs is not None or delta.extra:
            self.plain = False
            return
        self.deltas += 1
        for name, text in _texts(delta):
            self._pieces.setdefault(name, []).append(text)
            self._chars += len(text)


class Diverged(Exception):
    """The other attempt says something else than what the client has."""


class Replay:
    """One attempt that begins anew, held against what was sent. `pass_on` what it says."""

    def __init__(self, sent: Sent) -> None:
        self._left = {name: text for name, text in sent.channels().items() if text}

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
                    raise Diverged("it ended before all that was sent")
                case _:
                    passed.append(event)
        return passed

    def _rest(self, delta: Delta) -> Delta | None:
        """The part of a delta that the client does not have; None if it has all of it."""
        if not self._left:
            return delta
        if delta.choice or delta.logprobs is not None or delta.extra:
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
            raise Diverged(f"its {channel.rstrip('0123456789')} differs")
        if len(sent) > same:
            self._left[channel] = sent[same:]
        else:
            del self._left[channel]
        return text[same:]


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
