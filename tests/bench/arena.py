"""Where the contenders meet: one upstream, each proxy on a core of its own, and the generator that asks them."""

import contextlib
import http.client
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from tests.bench.answers import whole_fault
from tests.bench.peers.peer import Missing, Peer, Site
from tests.bench.plan import Plan, Run, caller_token
from tests.bench.processes import START_S, BenchError, last_words, pinned, running
from tests.support.wire import free_port

DIRECT = "upstream, directly"
_POLL_S = 0.002
_GRACE_S = 30.0


class Contender(msgspec.Struct, frozen=True, kw_only=True):
    """A server that answers."""

    name: str
    url: str
    pid: int
    headers: list[tuple[str, str]] = []
    share: float = 1.0
    log: Path
    """What it says."""
    first_answer_s: float = 0.0
    """From its start to its first right answer."""


class Arena:
    """An upstream that runs, and the cores that are there: `own` for who is measured, `others` for upstream
    and generator."""

    def __init__(self, folder: Path, upstream: Contender, own: set[int], others: set[int]) -> None:
        self.folder = folder
        self.upstream = upstream
        self.own = own
        self.others = others
        self.missing: dict[str, str] = {}
        """Proxies that are not installed, and what installs them."""
        self._count = 0

    def log(self, name: str) -> Path:
        return self.folder / f"{name.lower().replace(' ', '-')}.log"

    @contextlib.contextmanager
    def serving(self, peer: Peer, cpus: set[int] | None = None) -> Iterator[Contender]:
        """A proxy that has given its first right answer. Raises BenchError, Missing."""
        self._count += 1
        folder = self.folder / f"{self._count}"
        folder.mkdir()
        site = Site(folder=folder, port=free_port(), upstream=self.upstream.url)
        launch = peer.launch(site)
        log = self.log(f"{self._count} {peer.name}")
        began_s = time.monotonic()
        with pinned(launch.command, cpus or self.own, log, env=launch.env) as process:
            contender = Contender(
                name=peer.name,
                url=f"http://127.0.0.1:{site.port}",
                pid=process.pid,
                log=log,
                headers=peer.headers(site),
                share=peer.share,
            )
            while (fault := _first_answer_fault(contender)) is not None:
                if process.poll() is not None or time.monotonic() - began_s > START_S:
                    raise BenchError(f"{peer.name} does not answer: {fault}\n{last_words(log)}")
                time.sleep(_POLL_S)
            took_s = time.monotonic() - began_s
            yield msgspec.structs.replace(contender, first_answer_s=took_s)

    @contextlib.contextmanager
    def all_serving(self, peers: Sequence[Peer]) -> Iterator[list[Contender]]:
        """Those of the proxies that are installed, side by side. Raises BenchError."""
        with contextlib.ExitStack() as stack:
            contenders = []
            for peer in peers:
                try:
                    contenders.append(stack.enter_context(self.serving(peer)))
                except Missing as exc:
                    self.missing[peer.name] = str(exc)
            yield contenders

    def generate(self, contender: Contender, plan: Plan) -> Run:
        """Put a load on a contender. Raises BenchError."""
        with self.holding(contender, plan) as run:
            return run

    @contextlib.contextmanager
    def holding(self, contender: Contender, plan: Plan) -> Iterator[Run]:
        """The same; a plan that holds its streams keeps them open until the end. Raises BenchError."""
        plan = msgspec.structs.replace(
            plan, url=contender.url, watch=contender.pid, headers=contender.headers
        )
        log = self.log("generator")
        command = [sys.executable, "-m", "tests.bench.load", msgspec.json.encode(plan).decode()]
        with pinned(command, self.others, log, talks=True) as process:
            assert process.stdout is not None
            # The generator bounds itself; who ends it is pinned's `finally`.
            said = process.stdout.readline()
            if not said:
                raise BenchError(f"the load generator failed:\n{last_words(log)}")
            yield msgspec.json.decode(said, type=Run)

    def upstream_gap_s(self) -> float:
        """The largest time between two tokens of a stream that the upstream itself let pass since this was
        last asked."""
        host, _, port = self.upstream.url.removeprefix("http://").partition(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=_GRACE_S)
        with contextlib.closing(connection):
            connection.request("GET", "/largest-gap")
            return float(connection.getresponse().read())


def _first_answer_fault(contender: Contender) -> str | None:
    """Ask once: what was wrong, or None for a right answer."""
    host, _, port = contender.url.removeprefix("http://").partition(":")
    asked = {"model": "instant", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 1}
    headers = {
        "Content-Type": "application/json",
        "Authorization": f"Bearer {caller_token(0)}",
        **dict(contender.headers),
    }
    connection = http.client.HTTPConnection(host, int(port), timeout=_GRACE_S)
    with contextlib.closing(connection):
        try:
            connection.request("POST", "/v1/chat/completions", msgspec.json.encode(asked), headers)
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException) as exc:
            return str(exc)
    return whole_fault(body, 1) if answer.status == 200 else f"status {answer.status}"


@contextlib.contextmanager
def arena(folder: Path) -> Iterator[Arena]:
    """Start the upstream. With two cores or more the first is for who is measured. Raises BenchError."""
    cores = sorted(os.sched_getaffinity(0))
    own, others = {cores[0]}, set(cores[1:]) or {cores[0]}
    command = [sys.executable, "-m", "tests.bench.upstream"]
    log = folder / "upstream.log"
    with running("the upstream", command, others, log) as (url, pid):
        yield Arena(folder, Contender(name=DIRECT, url=url, pid=pid, log=log), own, others)
