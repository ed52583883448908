"""How close to the TPOT objective a lane may be steered: by what became of whole requests.

The live pace that the limit is steered by averages over many tokens; a promise is about requests, and
short answers are noisier. So the margin is trimmed: down when more requests were slow than the
promise allows, slowly up when hardly any was. Only requests dispatched after the last change count,
or a change would be judged by what it could not have influenced, however long answers are.
"""

from policies.limit import THETA

THETA_MIN, THETA_MAX = 0.85, 0.995
SAMPLES = 60
SETPOINT = 0.6
"""Of the allowed share of slow requests, where the margin comes to rest."""
QUIET = 0.25
DOWN_GAIN, DOWN_MAX = 0.2, 0.03
UP = 0.004


class Trim:
    """One lane's. `theta` times the objective is what the limit is steered to."""

    def __init__(self) -> None:
        self.theta = THETA
        self._since_s = float("-inf")
        self._n = 0
        self._slow = 0

    def ended(self, slow: bool, dispatched_s: float) -> None:
        """A request ended; `slow`: its mean time per output token missed the objective."""
        if dispatched_s >= self._since_s:
            self._n += 1
            self._slow += slow

    def step(self, allowed: float, now_s: float) -> None:
        """Move if enough is known. `allowed` is the share of requests that may be slow."""
        if self._n < SAMPLES:
            return
        share = self._slow / self._n
        theta = self.theta
        if share > allowed:
            theta -= min(DOWN_MAX, DOWN_GAIN * (share - SETPOINT * allowed))
        elif share < QUIET * allowed:
            theta += UP
        self.theta = min(max(theta, THETA_MIN), THETA_MAX)
        self._n = self._slow = 0
        self._since_s = now_s
