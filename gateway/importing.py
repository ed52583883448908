"""Modules for a process that serves, without what loading them does beside.

What is loaded stays until the end: looking for garbage in it, as Python does every so often and once more before
requests come, takes a sixth of a start. And whoever imports aiohttp imports its client, which reads all
certificates of the machine twice, 40 ms, for connections that the gateway makes in a way of its own
(`gateway.upstream`). Must stay true: with what is loaded here aiohttp's client trusts no server, so that nobody
can use it for TLS by mistake.
"""

import gc
import ssl
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def importing() -> Iterator[None]:
    """Around imports, and nothing else."""
    gc.disable()
    ssl.SSLContext.set_default_verify_paths = _left_unread  # type: ignore[assignment, method-assign]  # for the time being
    try:
        yield
    finally:
        del ssl.SSLContext.set_default_verify_paths  # the one of its base class is seen again
        gc.freeze()
        gc.enable()


def _left_unread(context: ssl.SSLContext) -> None:
    """In place of reading certificates."""
