"""A rival by the name that an operator gives: `vegas`, `static:43`."""

import re

from gateway.simulation.rivals.envoy import Envoy
from gateway.simulation.rivals.fixed import static, unlimited
from gateway.simulation.rivals.gradient2 import Gradient2
from gateway.simulation.rivals.rival import Rival
from gateway.simulation.rivals.vegas import Vegas

RIVALS = ("none", "static:N", "vegas", "gradient2", "envoy")
MAX_STATIC = 1_000_000


def make_rival(text: str, seed: int = 0) -> Rival:
    """A new rival. Raises ValueError, which says what there is, for any other text."""
    match text:
        case "none":
            return unlimited()
        case "vegas":
            return Vegas(seed)
        case "gradient2":
            return Gradient2()
        case "envoy":
            return Envoy(seed)
    number = re.fullmatch(r"static:([0-9]{1,9})", text)
    if number and 1 <= int(number[1]) <= MAX_STATIC:
        return static(int(number[1]))
    known = ", ".join(RIVALS)
    raise ValueError(f"no rival is called {text!r}: there are {known} (N from 1 to {MAX_STATIC})")
