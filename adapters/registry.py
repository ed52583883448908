"""Which dialect speaks with which engine: those that ship, and those that plug-ins add.

A plug-in is an installed distribution with an entry point in the group `setpoint.dialects`: its name is
what a pool's `engine` says, its object makes a `Dialect` when it is called without arguments. What ships
cannot be replaced. `docs/dialects.md` has a whole one. Nothing is loaded that no pool names.
"""

from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points

from adapters.anthropic import AnthropicDialect
from adapters.dialect import Dialect
from adapters.gemini import GeminiDialect
from adapters.llamacpp import LlamaCppDialect
from adapters.llmd import LlmdDialect, VllmDialect
from adapters.mlx import MlxDialect
from adapters.ollama import OllamaDialect
from adapters.openai import OpenAIDialect
from adapters.tgi import TgiDialect
from adapters.triton import TritonDialect
from adapters.triton_openai import TritonOpenAIDialect

GROUP = "setpoint.dialects"
DIALECTS: dict[str, Callable[[], Dialect]] = {
    "openai": OpenAIDialect,
    "anthropic": AnthropicDialect,
    "gemini": GeminiDialect,
    "ollama": OllamaDialect,
    "llamacpp": LlamaCppDialect,
    "mlx": MlxDialect,
    "tgi": TgiDialect,
    "triton": TritonDialect,
    "triton_openai": TritonOpenAIDialect,
    "llmd": LlmdDialect,
    "vllm": VllmDialect,
    "embedded": LlmdDialect,  # the fake llm-d in process: the same wire
}
_NEEDED = tuple(name for name in vars(Dialect) if not name.startswith("_"))


class NoDialect(ValueError):
    """An engine that nobody speaks with; `hint` says what to do about it."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def known_engines() -> list[str]:
    """The names that `engine` may have, sorted."""
    return sorted({*DIALECTS, *(entry.name for entry in entry_points(group=GROUP))})


def dialect_for(engine: str) -> Dialect:
    """A dialect without state of its own; one serves all pools of its engine.

    Raises NoDialect where there is none, or where its plug-in cannot be used.
    """
    make = DIALECTS.get(engine)
    return make() if make is not None else _plugged_in(engine)


def _plugged_in(engine: str) -> Dialect:
    found = list(entry_points(group=GROUP, name=engine))
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


def _where(entry: EntryPoint) -> str:
    return f"{entry.value} of {entry.dist.name if entry.dist else 'an unknown distribution'}"
