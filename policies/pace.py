"""Whether a stream is slower than whoever could have it gone on with elsewhere must bear. Pure.

Measured over windows, one after the other, so that a burst long ago does not speak for a stream that has
nearly stopped.
"""

from contracts.events import Delta

WINDOW_S = 10.0
"""Over how long a stream's pace is measured. The first such window begins with the first content."""
CHARS_A_TOKEN = 4
"""Some backends put several tokens into one piece; a long piece counts as many as it may hold."""


class Pace:
    """One stream's. Times are seconds on one monotonic clock; `begin` before anything else."""

    def __init__(self, floor: float) -> None:
        """`floor` is in tokens a second."""
        self.floor = floor
        self._since_s = 0.0
        self._tokens = 0.0

    def begin(self, now_s: float) -> None:
        """A window begins: with the stream, after one that was fast enough, or as its reader reads on."""
        self._since_s, self._tokens = now_s, 0.0

    def note(self, delta: Delta) -> None:
        calls = sum(len(call.arguments) for call in delta.tool_calls)
        chars = len(delta.content) + len(delta.reasoning) + len(delta.refusal) + calls
        self._tokens += max(1.0, chars / CHARS_A_TOKEN)

    def left_s(self, now_s: float) -> float:
        """Of the window; 0 or less: it is over."""
        return WINDOW_S - (now_s - self._since_s)

    def is_too_slow(self, now_s: float) -> bool:
        """In the window, up to now."""
        return self._tokens < self.floor * (now_s - self._since_s)
