"""vLLM Router, written in Rust, from the `vllm-router` wheel: round robin, its cheapest policy, and no log line
for each request."""

from tests.bench.peers.peer import PEERS, Launch, Peer, Site, program
from tests.support.wire import free_port


def launch(site: Site) -> Launch:
    router = program(PEERS / "vllm-router" / "bin" / "vllm-router", install="make bench")
    command = [router, "--host", "127.0.0.1", "--port", str(site.port)]
    command += ["--worker-urls", site.upstream, "--policy", "round_robin", "--log-level", "warning"]
    command += ["--prometheus-port", str(free_port())]
    return Launch(command=command)


VLLM_ROUTER = Peer(name="vLLM Router", launch=launch)
