"""An endpoint's state by its list of models, where that is all that tells it. Pure."""

from collections.abc import Callable

from adapters.dialect import EndpointState, WireHead
from contracts.errors import UpstreamFault

NO_SUCH_PATH = (404, 405, 501)


def state_by_list(
    found: tuple[WireHead, bytes] | None,
    fault: Callable[[WireHead, bytes], UpstreamFault],
    models: Callable[[bytes], tuple[str, ...]],
    *,
    always_there: bool = False,
) -> EndpointState:
    """`found` is the list's answer, None where there was none; `fault` says what an error answer means.
    `always_there`: every such backend has a list, so that who has none is none."""
    if found is None:
        return EndpointState(why="no answer")
    head, body = found
    if head.status == 200:
        return EndpointState(live=True, ready=True, why="ok", models=models(body))
    if fault(head, body).fault == "auth":
        return EndpointState(live=True, why="it refuses the API key")
    if head.status in NO_SUCH_PATH and not always_there:
        why = f"ok, though it has no model list ({head.status})"
        return EndpointState(live=True, ready=True, why=why, unlisted=True)
    return EndpointState(live=True, why=f"its model list answers {head.status}")
