"""Where telemetry goes."""

import sys
from pathlib import Path

import pytest

from gateway.configuration import load
from tests.support.configured import TELEMETRY, load_text, problems


def test_where_telemetry_goes(tmp_path: Path) -> None:
    assert load(None, env={}).telemetry is None
    spec = load_text(tmp_path, TELEMETRY, KEY="c2VjcmV0LXo=").telemetry
    assert spec is not None
    assert (spec.otlp, spec.sample, spec.traceparent) == ("https://otlp.test/base", 0.05, True)
    ((name, value),) = spec.headers
    assert (name, value.reveal()) == ("authorization", "Basic c2VjcmV0LXo=")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{}", "telemetry: the field 'otlp' is missing"),
        ("{otlp: 'http://me:pw@x'}", "telemetry.otlp: a URL with credentials would show in logs; use headers"),
        ("{otlp: 'http://x', headers: {'a b': x}}", "telemetry.headers"),
        ("{otlp: 'http://x', headers: {a: ''}}", "telemetry.headers.a: empty"),
        ('{otlp: "http://x", headers: {a: "x\\ty"}}', "telemetry.headers.a: a secret travels in a header"),
        ("{otlp: 'http://x', sample: 2}", "telemetry.sample"),
        ("{otlp: 'http://h:4318/v1/traces'}", "telemetry.otlp: /v1/traces is put behind it, so nothing"),
        ("{otlp: 'http://h:4318/otel/v1/metrics/'}", "telemetry.otlp: /v1/metrics is put behind it"),
    ],
)  # fmt: skip
def test_telemetry_that_cannot_be_sent_is_a_problem(
    tmp_path: Path, text: str, problem: str
) -> None:
    (found,) = problems(tmp_path, f"telemetry: {text}")
    assert problem in found


@pytest.mark.req("SEC-4")
def test_telemetry_without_its_packages_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk", None)
    monkeypatch.delitem(sys.modules, "opentelemetry.sdk.trace", raising=False)
    assert problems(tmp_path, "telemetry: {otlp: 'http://127.0.0.1:4318'}") == [
        "1:12: telemetry: traces and metrics by OTLP need packages that are not installed"
        " (install requirements.lock, as `make run` does, or '.[otel]' from Setpoint's folder; or leave"
        " telemetry out)"
    ]
    assert load_text(tmp_path, "").telemetry is None
