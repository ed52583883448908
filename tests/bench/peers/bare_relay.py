"""Two protocols and no more, `tests/bench/bare_relay.py`."""

import sys

from tests.bench.peers.peer import Launch, Peer, Site


def launch(site: Site) -> Launch:
    command = [sys.executable, "-m", "tests.bench.bare_relay"]
    return Launch(command=[*command, "--port", str(site.port), "--upstream", site.upstream])


BARE_RELAY = Peer(name="bare relay", launch=launch)
