"""What a request asks and its backend cannot do: refused by name, or left out with a word. Never silently.

A dialect makes one `Cannot` a request, tells it what it finds, and puts `dropped` into its wire request.
Two kinds, because dropping is not always honest: a parameter shapes an answer (`seed`), and a pool may say
that it is left out; what an answer consists of (its number, an image in the prompt) is always refused.
"""

import re
from typing import NoReturn

from contracts.config import Unsupported
from contracts.errors import UnsupportedParameter

MAX_DROPPED = 32
"""Members left out of one request. Clients can name as many as they like, and a header has a bound."""
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
"""Names that can stand in a header as they are."""


class Cannot:
    """What one request asks in vain. `dropped` is complete when the request has been read."""

    def __init__(self, engine: str, choice: Unsupported) -> None:
        self._engine = engine
        self._drops = choice == "drop"
        self._dropped: dict[str, None] = {}

    @property
    def dropped(self) -> tuple[str, ...]:
        """Names in the order of their appearance, each once."""
        return tuple(self._dropped)

    def parameter(self, name: str, why: str = "") -> None:
        """The caller leaves it out, if this returns. Raises UnsupportedParameter where the pool refuses."""
        known = name in self._dropped
        full = len(self._dropped) >= MAX_DROPPED and not known
        if not self._drops or full or not _PLAIN_NAME.fullmatch(name):
            self.refuse(name, why)
        self._dropped[name] = None

    def refuse(self, name: str, why: str = "") -> NoReturn:
        """Without it the answer would be to another question. Raises UnsupportedParameter."""
        reason = f": {why}" if why else ""
        raise UnsupportedParameter(
            f"{name} is not supported by the engine {self._engine}{reason}", param=name
        )
