"""An endpoint's state by its list of models, where that is all that tells it. Pure."""

from collections.abc import Callable

from adapters.dialect import EndpointState, WireHead
from contracts.errors import UpstreamFault


def state_by_list(
    found: tuple[WireHead, bytes] | None,
    fault: Callable[[WireHead, bytes], UpstreamFault],
    models: Callable[[bytes], tuple[str, ...]],
) -> EndpointState:
    """`found` is the list's answer, None where there was none; `fault` says what an error answer means."""
    if found is None:
        return EndpointState(why="no answer")
    head, body = found
    if head.status == 200:
        return EndpointState(live=True, ready=True, why="ok", models=models(body))
    if fault(head, body).fault == "auth":
        return EndpointState(live=True, why="it refuses the API key")
    return EndpointState(live=True, why=f"its model list answers {head.status}")
