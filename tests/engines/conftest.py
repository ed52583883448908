"""Each engine that is installed, with a gateway in front of it, and the table of what came of it.

Not part of `make test`: `make test-engines`, after `make engines`. An engine that is not installed is skipped.
"""

import datetime
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.engines.behind import Behind, started
from tests.engines.installed import is_installed
from tests.engines.servers import SERVERS

_MARKS = ("-", "yes", "NO")
_BY_OUTCOME = {"skipped": 0, "passed": 1, "failed": 2}
_results: dict[str, dict[str, int]] = {}


@pytest.fixture(scope="session", params=list(SERVERS))
def engine(request: pytest.FixtureRequest) -> str:
    if not is_installed(request.param):
        pytest.skip(f"{request.param} is not installed: `make engines`")
    return str(request.param)


@pytest.fixture(scope="session")
def behind(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Behind]:
    with started(engine, tmp_path_factory.mktemp(engine)) as found:
        yield found


@pytest.fixture
def mortal(engine: str, tmp_path: Path) -> Iterator[Behind]:
    """One of this test's own, to be killed."""
    with started(engine, tmp_path) as found:
        yield found


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    callspec = getattr(item, "callspec", None)
    name = callspec.params.get("engine") if callspec is not None else None
    if name is None or (report.when != "call" and report.outcome == "passed"):
        return
    told = getattr(item, "originalname", item.name).removeprefix("test_").replace("_", " ")
    row = _results.setdefault(told, {})
    # One test may be many cases: the worst of them is its result.
    row[name] = max(row.get(name, 0), _BY_OUTCOME[report.outcome])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The table of docs/dialects.md, to be taken over when engines or dialects have changed."""
    write: Callable[[str], None] = terminalreporter.write_line
    if not _results:
        return
    titles = " | ".join(server.title for server in SERVERS.values())
    write("")
    write(f"{datetime.datetime.now(tz=datetime.UTC).date()}, {_machine()}:")
    write("")
    write(f"| through the gateway | {titles} |")
    write(f"|---|{'---|' * len(SERVERS)}")
    for told, row in _results.items():
        write(f"| {told} | {' | '.join(_MARKS[row.get(name, 0)] for name in SERVERS)} |")


def _machine() -> str:
    cores = f"{os.cpu_count()} cores"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return f"{line.partition(': ')[2]}, {cores}"
    return cores
