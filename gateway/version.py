"""The gateway's version, as installed."""

from importlib.metadata import PackageNotFoundError, version


def _installed() -> str:
    try:
        return version("setpoint")
    except PackageNotFoundError:  # run from a source tree that was never installed
        return "0.0.0+source"


VERSION = _installed()
