"""The words a condition may use: the one table that the name check, the sample values and the docs share.

What must stay true: every word here has a value for every request (`policies.context`), so a
condition that loads never meets a missing name; or it may be unknown, and then a rule that asks for it
does not apply. No CEL and no evaluation here.
"""

from typing import Any, Literal

Kind = Literal["str", "int", "double", "bool", "map"]

REQUEST_FIELDS: dict[str, Kind] = {
    "model": "str",
    "operation": "str",
    "stream": "bool",
    "task": "bool",
    "max_tokens": "int",
    "prompt_tokens": "int",
    "messages": "int",
    "n": "int",
    "tools": "int",
    "key": "str",
    "user": "str",
    "session": "str",
    "headers": "map",
    "intent": "str",
    "priority": "int",
}
POOL_SIGNALS: dict[str, Kind] = {
    "inflight": "int",
    "queued": "int",
    "queued_tasks": "int",
    "limit": "int",
    "endpoints": "int",
    "ready_endpoints": "int",
    "backend_waiting": "int",
    "backend_running": "int",
    "kv_cache_usage": "double",
}
POOL_FIELDS: dict[str, Kind] = {"id": "str", **POOL_SIGNALS}
ROOTS: tuple[str, ...] = ("request", "pool", "pools")

FUNCTIONS: frozenset[str] = frozenset({"size", "int", "uint", "double", "string"})
"""Called as `size(x)`."""
METHODS: frozenset[str] = frozenset({"size", "contains", "startsWith", "endsWith", "matches"})
"""Called as `x.contains(y)`."""
MACROS: frozenset[str] = frozenset({"all", "exists", "exists_one", "filter", "map"})
"""Called as `x.exists(name, condition)`; the name exists inside the brackets only."""
CONSTANTS: frozenset[str] = frozenset({"true", "false", "null", "in"})

ELSEWHERE: dict[str, str] = {
    "and": "write &&",
    "or": "write ||",
    "not": "write !",
    "=": "write ==",
    "&": "write &&",
    "|": "write ||",
    "True": "write true",
    "False": "write false",
    "None": "every name has a value; an absent text is '', an absent number 0",
}
"""Words of other languages that people write by habit, and the remedy."""


def sample(kind: Kind, text: str, number: int, flag: bool) -> Any:
    """A value of a kind, to try a condition on."""
    match kind:
        case "str":
            return text
        case "int":
            return number
        case "double":
            return float(number)
        case "bool":
            return flag
        case "map":
            return {text: text} if text else {}
