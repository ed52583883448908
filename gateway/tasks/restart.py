"""What an earlier run of the gateway left in the store, as this one can use it.

Pure. When a task is taken up again, and by whom, is the desk's business.
"""

from collections.abc import Iterable

import msgspec

from contracts.config import TaskSettings
from contracts.errors import GatewayError, TaskExpired
from contracts.tasks import TaskView
from gateway import logs
from gateway.ids import new_request_id
from gateway.tasks.order import TaskOrder, read_order
from gateway.tasks.store import StoredTask


class _Named(msgspec.Struct):
    model: str = ""


_named = msgspec.json.Decoder(_Named)


def order_of(
    stored: StoredTask, *, models: Iterable[str], settings: TaskSettings, unix_s: float
) -> TaskOrder:
    """The same order again. Raises TaskExpired where its time to start is over; ClientFault where it
    cannot be carried out under today's configuration."""
    order = read_order(
        stored.body,
        request_id=new_request_id(),
        key=stored.caller,
        operator=stored.operator,
        headers=stored.headers,
        models=models,
        settings=settings,
        accepted_unix_s=stored.accepted_s,
        idempotency_key=stored.idempotency_key,
    )
    check_time(stored, order.ttl_s, unix_s)
    return order


def check_time(stored: StoredTask, ttl_s: float, unix_s: float) -> None:
    """Raises TaskExpired where it has waited for longer than `ttl_s`."""
    waited_s = unix_s - stored.accepted_s
    if waited_s > ttl_s:
        raise TaskExpired(
            f"the task could not start in time: it has waited {waited_s:.3g} s, the time included in "
            "which this gateway was down"
        )


def unrun_view(stored: StoredTask, error: GatewayError, unix_s: float) -> TaskView:
    """How a task looks that ends without having run here. Nothing was decided about it, and how far it
    came in its earlier life nobody knows."""
    return TaskView(
        id=stored.task_id,
        kind="task",
        state="failed",
        key=stored.caller,
        model=_model(stored.body),
        intent="",
        priority=0,
        created=logs.utc(stored.accepted_s),
        age_s=round(max(0.0, unix_s - stored.accepted_s), 3),
        decision="",
        policy_version="",
        prompt_tokens=0,
        prompt_tokens_estimated=True,
        ended=logs.utc(unix_s),
        error=error.envelope().error,
    )


def _model(body: bytes) -> str:
    try:
        return _named.decode(body).model
    except msgspec.MsgspecError:
        return ""
