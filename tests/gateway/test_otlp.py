"""To a collector over HTTP: with its headers, with a reason when it fails, and never for long."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator

import pytest
from opentelemetry.sdk.metrics.export import MetricsData

from gateway import otlp
from gateway.otlp import Sender
from gateway.secrets import SecretValue
from gateway.settings import TelemetrySpec
from tests.fakes.edge import eventually
from tests.fakes.otlp_collector import OtlpCollector

pytestmark = pytest.mark.req("RUN-10")
NOTHING = MetricsData(resource_metrics=[])


@pytest.fixture
async def collector() -> AsyncIterator[OtlpCollector]:
    collector = await OtlpCollector().start()
    yield collector
    await collector.aclose()


def spec(url: str) -> TelemetrySpec:
    headers = (("Authorization", SecretValue("Basic c2VjcmV0")), ("x-tenant", SecretValue("t 1")))
    return TelemetrySpec(otlp=url, headers=headers, sample=1.0, traceparent=False)


async def sent(sender: Sender) -> tuple[str, str]:
    return await asyncio.to_thread(lambda: (sender.send_spans([]), sender.send_metrics(NOTHING)))


async def test_both_signals_go_to_their_own_path_with_the_headers(
    collector: OtlpCollector,
) -> None:
    sender = Sender(spec(collector.url))
    assert await sent(sender) == ("", "")
    sender.close()
    sender.close()
    assert [path for path, _ in collector.requests] == ["/v1/traces", "/v1/metrics"]
    for _, headers in collector.requests:
        assert (headers["Authorization"], headers["x-tenant"]) == ("Basic c2VjcmV0", "t 1")
        assert headers["Content-Type"] == "application/x-protobuf"


@pytest.mark.parametrize("status", [400, 401, 500])
async def test_a_refusal_has_a_reason_and_no_line_in_the_log(
    collector: OtlpCollector, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="opentelemetry")
    collector.status = status
    sender = Sender(spec(collector.url))
    reasons = await sent(sender)
    sender.close()
    assert all(str(status) in reason for reason in reasons)
    assert not any("c2VjcmV0" in reason for reason in reasons)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_a_collector_that_is_not_there_or_says_nothing_is_given_up_in_time(
    collector: OtlpCollector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(otlp, "TIMEOUT_S", 0.05)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        absent = Sender(spec(f"http://127.0.0.1:{taken.getsockname()[1]}"))
        assert all(await sent(absent))
        absent.close()
    collector.status = None
    silent = Sender(spec(collector.url))
    assert all(await sent(silent))
    silent.close()


async def test_closing_ends_the_wait_between_two_tries(
    collector: OtlpCollector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(otlp, "TIMEOUT_S", 60.0)
    collector.status = 503
    sender = Sender(spec(collector.url))
    async with asyncio.TaskGroup() as group:
        trying = group.create_task(asyncio.to_thread(sender.send_spans, []))
        await eventually(lambda: bool(collector.requests))
        sender.close()
        assert await trying
