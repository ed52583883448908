"""Tools that only the servers of the API's own provider carry out: refused by name. Pure.

They have few of the members of a tool that a client declares, and are looked for before those are missed.
"""

from collections.abc import Collection

import msgspec
from msgspec import Raw

from gateway.inbound.untold import refuse


class _Tool(msgspec.Struct):
    type: str | None = None


_read = msgspec.json.Decoder(list[_Tool]).decode


def refuse_own_tools(tools: Raw | None, declared: Collection[str | None], whose: str) -> None:
    """Raises UnsupportedParameter for a tool of a type that is not `declared`. What is no tool at all is passed over:
    whoever reads it says what is wrong with it."""
    try:
        listed = _read(tools or b"[]")
    except (msgspec.MsgspecError, RecursionError):
        return
    for number, tool in enumerate(listed):
        if tool.type not in declared:
            why = f"{tool.type} is a tool of {whose} own, declare one with a schema instead"
            raise refuse(f"tools[{number}].type", why)
