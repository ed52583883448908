"""Everything that can go wrong with a request, as one small tree.

    GatewayError
      ClientFault    the request is wrong: fix it, do not repeat it        (4xx)
      Shed           the gateway declined: repeat it later                 (429, 503)
      UpstreamFault  the engine failed or did not answer in time           (502, 504, or its own status)

A leaf is a name and three facts: `code`, `status`, `retriable`. Foreign exceptions are
translated where they arise (`raise ... from exc`). Nothing here knows of HTTP libraries.
"""

from typing import ClassVar, Literal

import msgspec

Speaker = Literal["gateway", "engine"]
RETRY_AFTER_MAX_S = 120.0
"""Above this the OpenAI SDK for Python refuses to retry at all, so no more is told to whoever should."""


class ErrorBody(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The members of OpenAI's error object, and what Setpoint adds to it."""

    message: str
    type: str
    param: str | None
    code: str | None
    source: Speaker
    request_id: str | None = None
    policy_label: str | None = None
    retriable: bool | None = None
    retry_after_ms: int | None = None


class ErrorEnvelope(msgspec.Struct, kw_only=True):
    """`{"error": {...}}`: the body of every 4xx and 5xx, and the data of an error event."""

    error: ErrorBody


_encode = msgspec.json.Encoder().encode


class GatewayError(Exception):
    """Base of all; a bare one is a bug in the gateway and shows no inner text."""

    code: str = "internal_error"
    status: int = 500
    retriable: bool = False
    kind: ClassVar[str] = "server_error"
    source: Speaker = "gateway"

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        retry_after_s: float | None = None,
        policy_label: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after_s = retry_after_s
        self.policy_label = policy_label

    @property
    def is_of_the_moment(self) -> bool:
        """It is not the request that is wrong, so that clients are told whether it is worth repeating."""
        return isinstance(self, Shed | UpstreamFault)

    @property
    def told_retry_after_s(self) -> float | None:
        """`retry_after_s` as clients hear it: the truth, where they are told not to repeat by themselves."""
        if self.retry_after_s is None or (self.is_of_the_moment and not self.retriable):
            return self.retry_after_s
        return min(self.retry_after_s, RETRY_AFTER_MAX_S)

    def envelope(self, request_id: str | None = None) -> ErrorEnvelope:
        """This error as the client sees it."""
        delay_s = self.told_retry_after_s
        shed = isinstance(self, Shed)
        return ErrorEnvelope(
            error=ErrorBody(
                message=self.message,
                type=self.kind,
                param=self.param,
                code=self.code,
                source=self.source,
                request_id=request_id,
                policy_label=self.policy_label if not shed else self.policy_label or self.code,
                retriable=self.retriable if self.is_of_the_moment else None,
                retry_after_ms=None if delay_s is None else round(delay_s * 1000),
            )
        )

    def encode(self, request_id: str | None = None) -> bytes:
        """`envelope` as JSON."""
        return _encode(self.envelope(request_id))


# -- the request is wrong ---------------------------------------------------------------


class ClientFault(GatewayError):
    code, status = "invalid_request", 400
    kind = "invalid_request_error"


class InvalidJson(ClientFault):
    code = "invalid_json"


class InvalidField(ClientFault):
    code = "invalid_value"


class BelowQualityFloor(ClientFault):
    """The named model is below what the intent promised, and nothing above it was named."""

    code = "quality_floor"


class ContextTooLong(ClientFault):
    """The prompt, or the prompt and the answer that was asked for, are more than the model takes."""

    code = "context_length_exceeded"


class UnsupportedParameter(ClientFault):
    """The backend cannot do what this member of the request asks, and must not act as if it could."""

    code = "unsupported_parameter"


class ModelNotFound(ClientFault):
    code, status = "model_not_found", 404


class RouteNotFound(ClientFault):
    code, status = "not_found", 404


class PoolNotFound(ClientFault):
    code, status = "pool_not_found", 404


class TaskNotFound(ClientFault):
    """There is no such task, or it is somebody else's: which of the two is nobody's business."""

    code, status = "task_not_found", 404


class IdempotencyKeyReused(ClientFault):
    """The key belongs to a task with another body."""

    code, status = "idempotency_key_reused", 422


class Cancelled(ClientFault):
    """Whoever may has cancelled it by its id. 499, which no SDK repeats."""

    code, status = "cancelled", 499


class MethodNotAllowed(ClientFault):
    code, status = "method_not_allowed", 405


class RequestTimeout(ClientFault):
    """The client did not finish sending its request in time."""

    code, status = "request_timeout", 408


class BodyTooLarge(ClientFault):
    code, status = "request_too_large", 413


class ExpectationFailed(ClientFault):
    code, status = "expectation_failed", 417


class HeadersTooLarge(ClientFault):
    code, status = "headers_too_large", 431


class MissingToken(ClientFault):
    code, status = "missing_token", 401
    kind = "authentication_error"


class MalformedAuthorization(ClientFault):
    """Something was presented from which no token can be read: as good as none, so 401."""

    code, status = "malformed_authorization", 401
    kind = "authentication_error"


class WrongToken(ClientFault):
    code, status = "invalid_api_key", 403
    kind = "permission_error"


class InvalidProxyUser(ClientFault):
    """What a trusted proxy put into its header names nobody."""

    code, status = "invalid_proxy_user", 403
    kind = "permission_error"


class Forbidden(ClientFault):
    """A known caller asks for what only the operator may do."""

    code, status = "operator_only", 403
    kind = "permission_error"


# -- the gateway declined ---------------------------------------------------------------


class Shed(GatewayError):
    code, status, retriable = "shed", 429, True
    kind = "rate_limit_error"


class QueueFull(Shed):
    code = "queue_full"


class QueueTimeout(Shed):
    """Waited as long as the pool allows; 503, since SDKs repeat a 408 at once (peers: SMG #2247)."""

    code, status = "queue_timeout", 503
    kind = "overloaded_error"


class TaskExpired(Shed):
    """A task that could not start within its ttl. The same one may be submitted again."""

    code, status = "ttl_expired", 503
    kind = "overloaded_error"


class DeadlineUnreachable(Shed):
    """Its first token could not come in time any more: told at once, so that the client can decide."""

    code = "deadline_unreachable"


class ShedByIntent(Shed):
    """The control loop turns it away for the sake of a promise of a higher priority."""

    code, status = "shed_by_intent", 503
    kind = "overloaded_error"


class RejectedByPolicy(Shed):
    code = "rejected_by_policy"


class TooManyReaders(Shed):
    """One task is read by so many at once already."""

    code = "too_many_readers"


class BudgetExceeded(Shed):
    """Its caller has used up what it may use. Not `retriable` where that lasts for longer than any SDK
    waits, or where the request alone is more than the whole budget."""

    code = "budget_exceeded"


class TooManyConnections(Shed):
    code, status = "too_many_connections", 503
    kind = "overloaded_error"


class Draining(Shed):
    code, status = "draining", 503
    kind = "overloaded_error"


class Restarting(Shed):
    """Another process of this gateway would have to answer, and is being started again."""

    code, status = "restarting", 503
    kind = "overloaded_error"


class Interrupted(Shed):
    """A task that was at work when the gateway's process died. It is not run again by itself: some of
    its answer may have been read, and a second answer may be another one."""

    code, status = "interrupted", 503
    kind = "overloaded_error"


class RecordsUnavailable(Shed):
    """What must be durable cannot be written or read now."""

    code, status = "records_unavailable", 503
    kind = "overloaded_error"


class NoReadyBackend(Shed):
    code, status = "no_ready_backend", 503
    kind = "overloaded_error"


class PoolDraining(NoReadyBackend):
    """The operator has taken the pool out of service; another one may serve the request."""

    code = "pool_draining"


class NobodyListens(NoReadyBackend):
    """Not one endpoint of the pool can be reached. 502: the gateway is well, what is behind it is not."""

    code, status = "upstream_unreachable", 502
    kind = "server_error"


# -- the engine failed ------------------------------------------------------------------

FaultClass = Literal[
    "client",  # never repeat
    "auth",
    "not_found",
    "context_length",
    "content",
    "rate_limit",  # repeat later, or elsewhere
    "quota",  # 429, but no use repeating with the same key
    "overload",  # elsewhere, now
    "unavailable",  # elsewhere, now; mark the endpoint down
    "slo_shed",  # llm-d declined for its own SLO: not a fault of the engine
    "upstream_bug",  # once more, elsewhere
    "stream_broken",  # after the first byte
    "timeout",
]
REPEATABLE: frozenset[FaultClass] = frozenset(
    {"rate_limit", "overload", "unavailable", "upstream_bug", "timeout"}
)
"""Classes for which another attempt, here or elsewhere, can help while nothing has been sent on."""
RETRIABLE: frozenset[FaultClass] = REPEATABLE | {"stream_broken", "slo_shed"}
"""Classes for which the client may repeat the same request later."""


class UpstreamFault(GatewayError):
    """The engine's failure, classified by backend and message, not by status alone.

    `where` names pool and endpoint number, never an address.
    """

    code, status = "upstream_error", 502
    kind = "server_error"
    source: Speaker = "engine"

    def __init__(
        self,
        message: str,
        *,
        fault: FaultClass = "upstream_bug",
        status: int | None = None,
        code: str | None = None,
        type: str | None = None,
        param: str | None = None,
        where: str | None = None,
        upstream_status: int | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message, param=param, retry_after_s=retry_after_s)
        self.fault: FaultClass = fault
        self.retriable = fault in RETRIABLE
        self.where = where
        self.upstream_status = upstream_status
        if status is not None:
            self.status = status
        if code is not None:
            self.code = code
        if type is not None:
            self.kind = type  # type: ignore[misc]  # a fault speaks with its engine's own type


class ConnectFailed(UpstreamFault):
    code = "upstream_unreachable"


class StreamBroken(UpstreamFault):
    """The stream ended without a finish marker: never a short success."""

    code = "upstream_stream_broken"


class UpstreamTimeout(UpstreamFault):
    code, status = "upstream_timeout", 504
