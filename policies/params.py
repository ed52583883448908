"""Body members that a rule may set: everything but what the gateway itself answers for."""

from typing import Any

import msgspec

MAX_BYTES = 4096
"""One value, as JSON."""

_OWN_ACTION = "a rule has an action of its own for it"
_CONTENT = "it is what the client asks"
_STREAM = "how the answer travels is the client's to choose"
FORBIDDEN: dict[str, str] = {
    "model": f"{_OWN_ACTION}: then: {{model: ...}}",
    "max_tokens": f"{_OWN_ACTION}: then: {{max_tokens: ...}}",
    "max_completion_tokens": f"{_OWN_ACTION}: then: {{max_tokens: ...}}",
    "n_predict": f"{_OWN_ACTION}: then: {{max_tokens: ...}}",
    "priority": f"{_OWN_ACTION}: then: {{priority: ...}}",
    "messages": _CONTENT,
    "prompt": _CONTENT,
    "input": _CONTENT,
    "n": "the client counts on that many answers",
    "best_of": "it multiplies the work of a request that was admitted as one",
    "stream": _STREAM,
    "stream_options": _STREAM,
}
"""Name to the reason why not."""


def encode_param(name: str, value: Any) -> msgspec.Raw:
    """`value` as JSON. Raises ValueError saying why it may not be set."""
    if name in FORBIDDEN:
        raise ValueError(f"{name!r} may not be set through params: {FORBIDDEN[name]}")
    try:
        encoded = msgspec.json.encode(value)
    except (TypeError, ValueError, OverflowError, RecursionError) as exc:
        raise ValueError(f"{name!r} cannot be written as JSON") from exc
    if len(encoded) > MAX_BYTES:
        raise ValueError(f"{name!r} has {len(encoded)} bytes as JSON; the most is {MAX_BYTES}")
    return msgspec.Raw(encoded)
