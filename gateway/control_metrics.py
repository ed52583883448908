"""The control loop in Prometheus: every promise with what was measured, every limit, every decision."""

from collections.abc import Callable

from contracts.control import IntentStatus, LoopDecision
from gateway.honour_watch import HonourWatch
from gateway.metrics import Metrics
from policies.loop import Loop

STANDINGS = ("met", "at_risk", "breached", "unknown")
OF_AN_INTENT = (
    "standing",
    "objective_measured",
    "objective_target",
    "severity",
    "rung",
    "honoured",
)


class ControlMetrics:
    """Gauges are set when somebody scrapes; counters as things are decided."""

    def __init__(
        self, metrics: Metrics, loop: Loop, honour: HonourWatch, clock: Callable[[], float]
    ) -> None:
        self._metrics = metrics
        self._loop = loop
        self._honour = honour
        self._clock = clock
        self._ticks = metrics.histogram("setpoint_loop_tick_seconds")
        metrics.before_scrape(self._look)

    def ticked(self, took_s: float) -> None:
        self._ticks.observe(took_s)

    def decided(self, decision: LoopDecision) -> None:
        rung = (decision.rung or "none").partition(" ")[0]
        intent = decision.intent or "none"
        self._metrics.counter("setpoint_decisions_total", intent, decision.kind, rung).inc()
        if decision.verdict is not None:
            self._metrics.counter("setpoint_verdicts_total", intent, rung, decision.verdict).inc()

    def _look(self) -> None:
        now_s = self._clock()
        for name in OF_AN_INTENT:  # policies come and go
            self._metrics.clear(f"setpoint_intent_{name}")
        for status in self._loop.statuses(now_s):
            self._show(status)
        gauge = self._metrics.gauge
        for (pool, model), lane in self._loop.steering.lanes():
            labels = (pool, model)
            gauge("setpoint_lane_limit_requests", *labels).set(lane.limit)
            gauge("setpoint_lane_inflight_requests", *labels).set(lane.inflight)
            gauge("setpoint_lane_queued_requests", *labels).set(lane.waiting)

    def _show(self, status: IntentStatus) -> None:
        gauge, intent = self._metrics.gauge, status.intent
        for standing in STANDINGS:
            gauge("setpoint_intent_standing", intent, standing).set(status.standing == standing)
        gauge("setpoint_intent_rung", intent).set(status.rung)
        for one in status.objectives:
            labels = (intent, one.objective)
            gauge("setpoint_intent_objective_target", *labels).set(one.target)
            if one.value is not None:
                gauge("setpoint_intent_objective_measured", *labels).set(one.value)
            if one.severity is not None:
                gauge("setpoint_intent_severity", *labels).set(one.severity)
        for pool, state in self._honour.states(intent).items():
            if state.verdict != "unconfirmed":
                honoured = state.verdict == "honoured"
                gauge("setpoint_intent_honoured", pool, intent).set(honoured)
