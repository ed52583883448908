"""What the fake says: the whole answer, decided before its first token comes. Pure.

The same seed and parameters always give the same pieces, one piece a token. The text is English
words in English order and means nothing. When each piece is sent is not decided here.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Any, Literal

import msgspec

from adapters.fakellmd.draws import mix
from adapters.fakellmd.schemas import sample

BYTES_PER_TOKEN = 4
_FRAGMENT = 5
"""Characters of JSON in one token."""
_PIECE = 8
"""Longer words are two tokens."""


def _vocabulary(words: str) -> tuple[str, ...]:
    return tuple(words.split())


_ADJECTIVES = _vocabulary(
    "steady quiet small careful patient bright narrow early late simple honest distant measured "
    "gentle stubborn familiar naïve hollow sturdy plain"
)
_NOUNS = _vocabulary(
    "queue river signal engine letter garden harbour window answer market lantern teacher bridge "
    "forest machine traveller café question schedule mountain pattern instrument orchard morning"
)
_VERBS = _vocabulary(
    "follows carries holds remembers measures repeats crosses answers gathers watches outlasts "
    "surprises balances reaches mends counts"
)
_JOINS = _vocabulary("near behind after without beyond along beside before under across")
_ENDS = ("slowly", "at last", "once more", "in time", "by hand", "without a word", "every day")

FinishReason = Literal["stop", "length", "tool_calls"]


class Tool(msgspec.Struct, frozen=True):
    """A function to call: its name and the JSON Schema of its arguments."""

    name: str
    parameters: object = None


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What to write. `max_tokens` is a hard limit; `tool` asks for a call instead of text.

    `schema` None: prose; else JSON that fits it. `ignore_eos` writes up to `max_tokens`.
    """

    seed: int
    max_tokens: int
    natural_tokens: tuple[int, int]
    min_tokens: int = 0
    ignore_eos: bool = False
    stop: tuple[str, ...] = ()
    tool: Tool | None = None
    schema: object = None


class Script(msgspec.Struct, frozen=True, kw_only=True):
    """An answer: one piece a token. A piece may be empty (the end of text; text held back by `stop`).

    Of a tool call the first piece is the header, with no text; the rest are its arguments.
    """

    pieces: tuple[str, ...]
    finish_reason: FinishReason
    stop_reason: str | None = None
    tool_name: str | None = None


def prompt_tokens(prompt: str) -> int:
    """The fake's tokenizer: four bytes of UTF-8 a token, rounded up, and at least one."""
    return max(-(-len(prompt.encode(errors="replace")) // BYTES_PER_TOKEN), 1)


def write(order: Order) -> Script:
    """The answer to `order`; `max_tokens` must be at least 1."""
    if order.tool is not None:
        return _call(order, order.tool)
    if order.schema is not None:
        pieces = _json_pieces(order)
    else:
        pieces = tuple(islice(_prose(order), order.max_tokens + 1))
    script = _cut(pieces, order.max_tokens)
    return _stopped(script, order.stop) if order.stop else script


def _call(order: Order, tool: Tool) -> Script:
    parameters = tool.parameters if isinstance(tool.parameters, dict) else {"type": "object"}
    arguments = sample(parameters, order.seed)
    if not isinstance(arguments, dict):  # of a schema that allows other things, `{}` for one
        arguments = {}
    pieces = ("", *_fragments(_compact(arguments)))
    script = _cut(pieces, order.max_tokens)
    finish = script.finish_reason
    return Script(
        pieces=script.pieces,
        finish_reason="tool_calls" if finish == "stop" else finish,
        tool_name=tool.name,
    )


def _json_pieces(order: Order) -> tuple[str, ...]:
    sentence = "".join(islice(_words(order.seed), 12)).strip()
    value: Any = sample(order.schema, order.seed, text=sentence)
    return (*_fragments(_compact(value)), "")


def _compact(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _fragments(text: str) -> list[str]:
    return [text[at : at + _FRAGMENT] for at in range(0, len(text), _FRAGMENT)]


def _prose(order: Order) -> Iterator[str]:
    """Whole sentences until the natural length is reached, then the end-of-text token."""
    shortest, longest = order.natural_tokens
    natural = shortest + mix(order.seed, 9) % (longest - shortest + 1)
    least, most = max(natural, order.min_tokens), max(longest, order.min_tokens)
    for length, piece in enumerate(_words(order.seed), start=2):  # the end-of-text token counts
        yield piece
        if order.ignore_eos or length < least:
            continue
        if piece == "." or length >= most:
            break
    yield ""


def _words(seed: int) -> Iterator[str]:
    """Pieces of an endless text."""
    number = 0
    lead = ""
    while True:
        number += 1
        for word in _sentence(mix(seed, 10, number)):
            half = len(word) // 2 if len(word) > _PIECE else len(word)
            yield lead + word[:half]
            if half < len(word):
                yield word[half:]
            lead = " "
        yield "."


def _sentence(seed: int) -> list[str]:
    def pick(place: int, words: tuple[str, ...]) -> str:
        return words[mix(seed, place) % len(words)]

    words = ["The", pick(1, _ADJECTIVES), pick(2, _NOUNS), pick(3, _VERBS), "the", pick(4, _NOUNS)]
    if seed & 1:
        words += [pick(5, _JOINS), "the", pick(6, _ADJECTIVES), pick(7, _NOUNS)]
    if seed & 2:
        words += pick(8, _ENDS).split()
    return words


def _cut(pieces: tuple[str, ...], max_tokens: int) -> Script:
    if len(pieces) > max_tokens:
        return Script(pieces=pieces[:max_tokens], finish_reason="length")
    return Script(pieces=pieces, finish_reason="stop")


def _stopped(script: Script, stops: tuple[str, ...]) -> Script:
    """End before the earliest stop string; the token that completed it is the last one."""
    text = "".join(script.pieces)
    found = [(at, stop) for stop in stops if stop and (at := text.find(stop)) >= 0]
    if not found:
        return script
    at, stop = min(found)
    end = at + len(stop)
    pieces: list[str] = []
    length = 0
    for piece in script.pieces:
        pieces.append(piece[: max(at - length, 0)])
        length += len(piece)
        if length >= end:
            break
    return Script(pieces=tuple(pieces), finish_reason="stop", stop_reason=stop)
