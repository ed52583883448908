"""Streams of chunks as no engine would write them, nor as all of them do."""

import json
from typing import Any

from hypothesis import strategies as st

from adapters.repeated_chunk import PROBE


def chunk(text: str, **more: Any) -> bytes:
    delta = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    return json.dumps({"id": "x", "choices": [delta], **more}, ensure_ascii=False).encode()


TEXTS = st.one_of(
    st.sampled_from(
        ["", "a", '"', "\\", "\n", "null", '","x":"', "}", PROBE, "content", "x", "\u2028", "0"]
    ),
    st.text(max_size=4),
)
MEMBERS = st.sampled_from(
    ["content", "reasoning", "reasoning_content", "refusal", "role", "audio", "x"]
)
DELTAS = st.dictionaries(MEMBERS, st.one_of(TEXTS, st.none(), st.just({"a": 1})), max_size=2)
CHOICES = st.one_of(
    st.fixed_dictionaries(
        {"index": st.integers(0, 1), "delta": DELTAS},
        optional={"finish_reason": st.sampled_from([None, "stop"]), "logprobs": st.none()},
    ),
    st.fixed_dictionaries({"text": TEXTS}),
)
CHUNKS = st.fixed_dictionaries(
    {"choices": st.lists(CHOICES, min_size=1, max_size=2)},
    optional={
        "id": st.sampled_from(["1", "a", PROBE]),
        "error": st.sampled_from([None, "a"]),
        "usage": st.sampled_from([None, {"prompt_tokens": 1}]),
    },
)
STREAMS = st.tuples(
    st.lists(CHUNKS, min_size=1, max_size=2), st.lists(st.tuples(st.integers(0, 9), TEXTS))
)


def with_text(value: Any, text: str) -> Any:
    """`value` with each of its texts that is not empty replaced: the same shape, saying something else."""
    if isinstance(value, dict):
        keep = ("finish_reason", "id", "role")
        return {k: v if k in keep else with_text(v, text) for k, v in value.items()}
    if isinstance(value, list):
        return [with_text(item, text) for item in value]
    return text if isinstance(value, str) and value else value


def spelled(stream: Any, *, spaced: bool, escaped: bool) -> list[bytes]:
    """The chunks of one of `STREAMS`."""
    shapes, said = stream
    between = None if spaced else (",", ":")
    chunks = []
    for which, text in said:
        shape = with_text(shapes[which % len(shapes)], text)
        data = json.dumps(shape, ensure_ascii=escaped, separators=between)
        chunks.append(data.encode("utf-8", "replace"))
    return chunks


@st.composite
def damaged(draw: st.DrawFn) -> list[bytes]:
    """Chunks that say texts, with a few bytes of theirs lost and others gained."""
    chunks = list(map(chunk, ["a", *draw(st.lists(TEXTS, min_size=1, max_size=9))]))
    for _ in range(draw(st.integers(1, 3))):
        which = draw(st.integers(0, len(chunks) - 1))
        whole = chunks[which]
        at = draw(st.integers(0, len(whole)))
        until = draw(st.integers(at, min(at + 3, len(whole))))
        chunks[which] = whole[:at] + draw(st.binary(max_size=3)) + whole[until:]
    return chunks


MIXED = [
    [b'"a","b"'],
    [b'"a","b"', b'"c', b'd"'],  # as many texts as chunks, if the chunks did not matter
    [b'"c', b'd"', b'"a","b"'],
    [b'"a"', b"", b'"b","c"'],
    [b'"a"', b'""', b'"b"'],
    [b'"a"', b"\xff", b'"b"'],
    [b'"a"', b'"\xff"', b'"b"'],
    [b'"a"', b"1", b'"b"'],
    [b'"a"]', b'["b"'],
]
"""What chunks may have in place of their texts."""
