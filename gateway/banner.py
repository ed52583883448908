"""What `setpoint serve` says when it listens: where, what is behind it, and a line to paste."""

from collections.abc import Sequence

from contracts.problems import Problem
from gateway.pools import Pool
from gateway.runtime import Gateway
from gateway.version import VERSION

WARNINGS_SHOWN = 5


def banner(gateway: Gateway, url: str, warnings: Sequence[Problem] = ()) -> str:
    """Plain text for a terminal. Of `warnings` the first few; the log has them all."""
    lines = [f"Setpoint {VERSION} listens on {url}", ""]
    if (
        gateway.loaded.file
        and not gateway.loaded.config.pools
        and gateway.loaded.config.adapter is None
    ):
        lines += ["  No backend is configured: a simulated llm-d inside this process answers.", ""]
    for pool in gateway.pools.values():
        lines.append(f"  pool     {pool.id:<18} {_pool(pool)}")
    for name, card in sorted(gateway.catalog.models.items()):
        quality = "" if card.quality is None else f", quality {card.quality:g}"
        upstream = "" if card.upstream == name else f"{card.upstream} "
        lines.append(f"  model    {name:<18} {upstream}in {card.pool}{quality}")
    for name, intent in gateway.policy.intents.items():
        lines.append(f"  intent   {name:<18} priority {intent.priority}")
    if not gateway.policy.intents:
        lines.append("  intent   none")
    lines.append(f"  policies {gateway.loaded.policies_path}, version {gateway.policy.version}")
    lines += [f"  warning  {warning}" for warning in warnings[:WARNINGS_SHOWN]]
    if len(warnings) > WARNINGS_SHOWN:
        lines.append(f"  warning  {len(warnings) - WARNINGS_SHOWN} more: see the log")
    model = next(iter(sorted(gateway.catalog.models)), "MODEL")
    token = "" if gateway.auth.open else " -H 'Authorization: Bearer TOKEN'"
    lines += [
        "",
        "Try it:",
        f"  curl -N {url}/v1/chat/completions{token} -H 'Content-Type: application/json' \\",
        f'    -d \'{{"model": "{model}", "stream": true, "messages": '
        '[{"role": "user", "content": "Hello"}]}\'',
        "",
    ]
    return "\n".join(lines)


def _pool(pool: Pool) -> str:
    states = [
        f"{e.state.why}{f' ({e.state.version})' if e.state.version else ''}"
        if e.state.ready
        else f"NOT READY: {e.state.why}"
        for e in pool.endpoints
    ]
    at_once = f", {pool.limit} at once" if pool.ready else ""
    return f"{pool.engine}{at_once}; {'; '.join(states)}"
