"""Where traces and metrics are sent by OTLP."""

from contracts.config import Telemetry
from gateway.addresses import endpoint_fault
from gateway.configuration.findings import Findings
from gateway.configuration.secret_values import read_secret
from gateway.settings import TelemetrySpec
from gateway.telemetry import is_installed

SIGNAL_PATHS = ("/v1/traces/", "/v1/metrics/", "/v1/logs/")


def telemetry_of(findings: Findings, given: Telemetry | None) -> TelemetrySpec | None:
    """None where none is wanted, and where something is wrong (then with a problem)."""
    if given is None:
        return None
    if not is_installed():
        message = "traces and metrics by OTLP need packages that are not installed"
        hint = (
            "install requirements.lock, as `make run` does, or '.[otel]' from Setpoint's folder; "
            "or leave telemetry out"
        )
        findings.note(("telemetry",), message, hint, sure=findings.sure((), "telemetry"))
    if wrong := endpoint_fault(given.otlp):
        findings.note(("telemetry", "otlp"), wrong.replace("use api_key", "use headers"))
    elif own := next((path for path in SIGNAL_PATHS if path in f"{given.otlp.rstrip('/')}/"), None):
        findings.note(
            ("telemetry", "otlp"),
            f"{own[:-1]} is put behind it, so nothing would arrive there",
            "the collector's address without it",
        )
    headers = [
        (name, value)
        for name, secret in given.headers.items()
        if (value := read_secret(findings, secret, ("telemetry", "headers", name), blanks=True))
    ]
    return TelemetrySpec(
        otlp=given.otlp.rstrip("/"),
        headers=tuple(headers),
        sample=float(given.sample),
        traceparent=given.traceparent,
    )
