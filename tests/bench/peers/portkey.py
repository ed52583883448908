"""Portkey's gateway, for Node, from the npm package `@portkey-ai/gateway`: without its console.

Its lock holds Hono back at what it was released with: with 4.13 and node-server 1.19 every stream is a 500.
"""

from tests.bench.peers.peer import PEERS, Launch, Peer, Site, on_path, program


def launch(site: Site) -> Launch:
    package = PEERS / "portkey" / "node_modules" / "@portkey-ai" / "gateway"
    script = program(package / "build" / "start-server.js", install="make peers")
    node = on_path("node", "make peers")
    return Launch(command=[node, script, "--headless", f"--port={site.port}"])


def headers(site: Site) -> list[tuple[str, str]]:
    """Each request names its provider and where that is."""
    return [("x-portkey-provider", "openai"), ("x-portkey-custom-host", f"{site.upstream}/v1")]


PORTKEY = Peer(name="Portkey", launch=launch, headers=headers, share=0.1)
