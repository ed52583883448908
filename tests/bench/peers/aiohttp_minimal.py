"""The minimal aiohttp proxy, `tests/bench/aiohttp_proxy.py`."""

import sys

from tests.bench.peers.peer import Launch, Peer, Site


def launch(site: Site) -> Launch:
    command = [sys.executable, "-m", "tests.bench.aiohttp_proxy"]
    return Launch(command=[*command, "--port", str(site.port), "--upstream", site.upstream])


AIOHTTP = Peer(name="aiohttp proxy", launch=launch)
