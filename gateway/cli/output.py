"""What is said to whoever typed the command."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


def say(text: str) -> None:
    """A line to stdout, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def complain(*lines: str) -> None:
    for line in lines:
        sys.stderr.write(f"{line}\n")


@contextmanager
def naming_the_file() -> Iterator[None]:
    """An error says which file it is about."""
    try:
        yield
    except OSError as exc:
        raise OSError(exc.errno, f"{exc.filename}: {exc.strerror}") from exc
