"""Which dialect speaks with which engine: those that ship, and those that plug-ins add.

A plug-in is an installed distribution with an entry point in the group `setpoint.dialects`: its name is
what a pool's `engine` says, its object makes a `Dialect` when it is called without arguments. What ships
cannot be replaced. `docs/dialects.md` has a whole one. Nothing is loaded that no pool names.
"""

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

from adapters.dialect import Dialect

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "setpoint.dialects"
DIALECTS = {
    "openai": "openai:OpenAIDialect",
    "anthropic": "anthropic:AnthropicDialect",
    "gemini": "gemini:GeminiDialect",
    "ollama": "ollama:OllamaDialect",
    "llamacpp": "llamacpp:LlamaCppDialect",
    "mlx": "mlx:MlxDialect",
    "tgi": "tgi:TgiDialect",
    "triton": "triton:TritonDialect",
    "triton_openai": "triton_openai:TritonOpenAIDialect",
    "llmd": "llmd:LlmdDialect",
    "vllm": "llmd:VllmDialect",
    "embedded": "llmd:LlmdDialect",  # the fake llm-d in process: the same wire
}
"""Modules of `adapters`, written as an entry point is."""
_NEEDED = tuple(name for name in vars(Dialect) if not name.startswith("_"))


class NoDialect(ValueError):
    """An engine that nobody speaks with; `hint` says what to do about it."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def known_engines() -> list[str]:
    """The names that `engine` may have, sorted."""
    return sorted({*DIALECTS, *(entry.name for entry in _plug_ins())})


def dialect_for(engine: str) -> Dialect:
    """A dialect without state of its own; one serves all pools of its engine.

    Raises NoDialect where there is none, or where its plug-in cannot be used.
    """
    shipped = DIALECTS.get(engine)
    if shipped is None:
        return _plugged_in(engine)
    module, _, name = shipped.partition(":")
    make: Callable[[], Dialect] = getattr(import_module(f"adapters.{module}"), name)
    return make()


def _plugged_in(engine: str) -> Dialect:
    found = [entry for entry in _plug_ins() if entry.name == engine]
    if not found:
        raise NoDialect(f"there is no engine {engine!r}", f"known: {', '.join(known_engines())}")
    if len(found) > 1:
        raise NoDialect(
            f"more than one plug-in is called {engine!r}",
            f"uninstall all but one of {', '.join(sorted(map(_where, found)))}",
        )
    entry = found[0]
    try:
        dialect: Dialect = entry.load()()
    except Exception as exc:  # it is not our code: whatever it raises is told to the operator
        raise NoDialect(
            f"the plug-in {_where(entry)} cannot be loaded: {type(exc).__name__}: {exc}",
            "install a version of it that fits this Setpoint",
        ) from exc
    lacking = [name for name in _NEEDED if not callable(getattr(dialect, name, None))]
    if lacking:
        raise NoDialect(
            f"the plug-in {_where(entry)} is no dialect: it lacks {', '.join(lacking)}",
            "install a version of it that fits this Setpoint",
        )
    return dialect


def _plug_ins() -> "list[EntryPoint]":
    from importlib.metadata import entry_points  # its time is that of ten dialects

    return list(entry_points(group=GROUP))


def _where(entry: "EntryPoint") -> str:
    return f"{entry.value} of {entry.dist.name if entry.dist else 'an unknown distribution'}"
