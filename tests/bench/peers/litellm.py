"""LiteLLM's proxy from the `litellm` wheel: one worker, no callers, no database, no callbacks."""

from tests.bench.peers.peer import PEERS, Launch, Peer, Site, program
from tests.bench.upstream import MODELS

MODEL = """\
  - model_name: {name}
    litellm_params: {{model: openai/{name}, api_base: "{upstream}/v1", api_key: bench}}
"""


def config(site: Site) -> str:
    """The text of its configuration."""
    models = "".join(MODEL.format(name=name, upstream=site.upstream) for name in MODELS)
    return f"model_list:\n{models}litellm_settings: {{telemetry: false}}\n"


def launch(site: Site) -> Launch:
    litellm = program(PEERS / "litellm" / "bin" / "litellm", install="make peers")
    path = site.folder / "litellm.yaml"
    path.write_text(config(site), encoding="utf-8")
    command = [litellm, "--config", str(path), "--host", "127.0.0.1", "--port", str(site.port)]
    env = {
        # Without it the table of prices is fetched from the network at start.
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_LOG": "ERROR",
        # Callers are not checked: its cheapest way to serve.
        "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",
    }
    return Launch(command=command, env=env)


LITELLM = Peer(name="LiteLLM", launch=launch, share=0.02)
