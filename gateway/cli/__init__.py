"""The command line: `setpoint serve | check | explain | simulate | records | replay | demo | llmd`.

A file a command; each shows an example with `--help`. Must stay true: what a command needs is imported
when it runs, so that none waits for what only another one needs.
"""

from gateway.cli.command import FAILED, INTERRUPTED, OK, REFUSED
from gateway.cli.config_flag import CONFIG_VARIABLE
from gateway.cli.program import main

__all__ = ["CONFIG_VARIABLE", "FAILED", "INTERRUPTED", "OK", "REFUSED", "main"]
