"""What runs in a process that the supervisor has started: `python -m gateway.workers.process`.

Its standard input brings what it is to be (`gateway.workers.handover`), and then the supervisor's word; its
end is the supervisor's end.
"""

import asyncio
import sys
from collections.abc import Iterator

import uvloop

from contracts.problems import ProblemsFound
from gateway.importing import importing
from gateway.workers.handover import Handover, take_over

OK, FAILED, REFUSED = 0, 1, 2


def main() -> int:
    """Exit codes are those of the command line."""
    code = OK
    try:
        pipe = open(0, "rb", buffering=0, closefd=False)  # noqa: SIM115  # it stays open
        uvloop.run(_serve(take_over(pipe)))
    except* ProblemsFound as group:
        code = REFUSED
        for exc in _leaves(group):
            assert isinstance(exc, ProblemsFound)
            sys.stderr.writelines(f"{problem}\n" for problem in exc.problems)
    except* (OSError, EOFError) as group:
        code = FAILED
        for exc in _leaves(group):
            sys.stderr.write(f"setpoint: {getattr(exc, 'strerror', None) or exc}\n")
    return code


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for exc in group.exceptions:
        if isinstance(exc, BaseExceptionGroup):
            yield from _leaves(exc)
        else:
            yield exc


async def _serve(handover: Handover) -> None:
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    if handover.part == "hub":
        with importing():
            from gateway.workers.hub_process import serve_hub

        await serve_hub(handover, reader)
    else:
        with importing():
            from gateway.workers.worker import serve_worker

        await serve_worker(handover, reader)


if __name__ == "__main__":
    sys.exit(main())
