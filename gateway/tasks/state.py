"""The states of one task, as a table. Pure.

Must stay true: whatever happens in whichever order, a task ends exactly once, and what comes after
its end changes nothing. Who does what when a state changes is not here.
"""

from typing import Literal

from contracts.tasks import ENDED, TaskState

TaskStep = Literal[
    "offered",  # it asked a pool for a place: at first, or again before any content
    "dispatched",  # an engine is asked
    "token",  # content has come
    "succeeded",
    "failed",
    "cancelled",
    "expired",  # its time to start is over
]


def step(state: TaskState, what: TaskStep) -> TaskState | None:
    """The state after `what` has happened. None: it comes too late, and is nobody's business.

    Another attempt before the first content may stand in a queue again; after it there is none.
    """
    if state in ENDED:
        return None
    match what:
        case "offered":
            return None if state == "streaming" else "queued"
        case "dispatched":
            return None if state == "streaming" else "starting"
        case "token":
            return "streaming"
        case "expired":
            return "failed" if state == "queued" else None
        case _:
            return what
