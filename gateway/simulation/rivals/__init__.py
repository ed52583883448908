"""The concurrency limiters that others published, to compare Setpoint's with. See `rival`."""

from gateway.simulation.rivals.registry import make_rival
from gateway.simulation.rivals.rival import Rival

__all__ = ["Rival", "make_rival"]
