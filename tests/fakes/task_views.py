"""How a task looks that has ended well."""

from contracts.tasks import TaskView

VIEW = TaskView(
    id="task_1",
    kind="task",
    state="succeeded",
    key="ada",
    model="m",
    intent="i",
    priority=0,
    created="2026-01-31T12:00:00.000Z",
    tokens_out=2,
    age_s=1.0,
    decision="",
    policy_version="",
    prompt_tokens=1,
    prompt_tokens_estimated=False,
    decode_time_ms=7,
    last_event_id=4,
)
