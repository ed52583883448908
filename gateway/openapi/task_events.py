"""The events of a task, by name."""

import msgspec

from contracts.tasks import EndEvent, ErrorEvent, GapEvent, MetricsEvent, StartedEvent, TokenEvent

TASK_EVENTS: dict[str, type[msgspec.Struct]] = {
    "started": StartedEvent,
    "token": TokenEvent,
    "metrics": MetricsEvent,
    "gap": GapEvent,
    "end": EndEvent,
    "error": ErrorEvent,
}
