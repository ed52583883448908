"""One command: what `--help` says of it, its flags, what runs it, and how it ends."""

import argparse
from collections.abc import Callable
from typing import Any

Commands = argparse._SubParsersAction  # argparse has no public name for it
AddFlags = Callable[[argparse.ArgumentParser], None]
OK, FAILED, REFUSED, INTERRUPTED = 0, 1, 2, 130
"""Exit codes: done; it could not be done; what the operator wrote is wrong; a signal ended it early."""


class CommandParser(argparse.ArgumentParser):
    """Gets its flags when it is the one to parse: the list of all commands needs none of them, and some
    flags are known only to modules that take long to import."""

    add_flags: AddFlags | None = None

    def parse_known_args(self, *args: Any, **kwargs: Any) -> Any:
        if self.add_flags is not None:
            add_flags, self.add_flags = self.add_flags, None
            add_flags(self)
        return super().parse_known_args(*args, **kwargs)


def add_command(
    commands: "Commands[CommandParser]",
    name: str,
    about: str,
    example: str,
    add_flags: AddFlags,
    run: Callable[[argparse.Namespace], int],
) -> None:
    """`run` carries it out and returns the exit code."""
    parser = commands.add_parser(
        name,
        help=about,
        description=about,
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_flags = add_flags
    parser.set_defaults(run=run)
