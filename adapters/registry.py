"""Which dialect speaks with which engine."""

from adapters.dialect import Dialect
from adapters.llamacpp import LlamaCppDialect
from adapters.llmd import LlmdDialect, VllmDialect
from adapters.openai import OpenAIDialect
from contracts.config import Engine

DIALECTS: dict[Engine, type[OpenAIDialect]] = {
    "openai": OpenAIDialect,
    "llamacpp": LlamaCppDialect,
    "llmd": LlmdDialect,
    "vllm": VllmDialect,
    "embedded": LlmdDialect,  # the fake llm-d in process: the same wire
}


def dialect_for(engine: Engine) -> Dialect:
    """A dialect without state of its own; one serves all pools of its engine."""
    return DIALECTS[engine]()
