"""The description against the gateway it describes: schemathesis makes requests of it, right and wrong
ones, for every operation in the document, and holds what comes back against it. Over real sockets.

A new operation is tested as soon as it is in the document. All of schemathesis' checks are on, but for
those that are named here, each with its reason.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import ignored_auth, positive_data_acceptance

from gateway.openapi.description import document
from tests.support.setpoint_server import OPERATOR_TOKEN, WEB_TOKEN, Gateway

pytestmark = pytest.mark.req("OPS-3")

SERVED = """
pools:
  - id: sim
    engine: embedded
    simulate: {inter_token_latency: 100us, prefill_overhead: 0, prefill_time_per_token: 0}
  - {id: spare, engine: openai, endpoint: "http://127.0.0.1:9"}
models: [{name: assistant, pool: sim, upstream: sim-large}]
policies: short.yaml
tasks: {max_ttl: 1000000d}
"""
"""One pool answers in no time. At the other nobody listens, so requests may take it out of service."""
SHORT = """
intents: [{name: any, match: {default: true}}]
rules: [{name: short answers, when: "true", then: {max_tokens: 4}}]
"""
GUARD = f"auth: {{token: {OPERATOR_TOKEN}, keys: [{{name: web, token: {WEB_TOKEN}}}]}}"
AS_OPERATOR = {"Authorization": f"Bearer {OPERATOR_TOKEN}"}


def described(*, coverage: bool = True) -> Any:
    """The description, loaded. `coverage`: beside random requests some dozens that go through each bound
    of each field."""
    config = SchemathesisConfig.from_dict(
        {
            # Without names that exist nothing would come further than a 404.
            "dictionaries": {"models": {"values": ["assistant"]}, "pools": {"values": ["spare"]}},
            "parameters": {
                "body.model": {"dictionary": "models", "probability": 0.8},
                "path.id": {"dictionary": "pools", "probability": 0.5},
            },
            "request-timeout": 20,
            "phases": {
                "coverage": {"enabled": coverage},
                "stateful": {
                    "inference": {"algorithms": []}
                },  # the links that it names, and no others
            },
        }
    )
    return schemathesis.openapi.from_dict(msgspec.json.decode(document()), config=config)


def bounded(examples: int, **more: Any) -> settings:
    """So many random requests of an operation. None is thrown away for being slow or odd."""
    phases = [Phase.explicit, Phase.generate, Phase.shrink]
    odd = list(HealthCheck)
    return settings(max_examples=examples, phases=phases, suppress_health_check=odd, **more)


def taken_where_it_is_right(
    context: schemathesis.CheckContext, response: schemathesis.Response, case: schemathesis.Case
) -> bool | None:
    """positive_data_acceptance of what the gateway itself checks. Members that it only passes on, such as
    what a message is made of, are the engine's to judge, and no two engines agree on them. And whether a
    key has been used, or an event has been, is not to be seen from the request."""
    if response.status_code in (400, 422):
        error = response.json()["error"]
        of_the_past = error["code"] == "idempotency_key_reused" or error["param"] == "last-event-id"
        if error["source"] == "engine" or of_the_past:
            return None
    return positive_data_acceptance(context, response, case)


def well(
    context: schemathesis.CheckContext, response: schemathesis.Response, case: schemathesis.Case
) -> bool | None:
    """not_a_server_error, but for who asks to be served within a nanosecond, and is not."""
    if response.status_code == 503 and response.json()["error"]["code"] == "ttl_expired":
        return None
    return not_a_server_error(context, response, case)


CHECKED = {
    "excluded_checks": [positive_data_acceptance, not_a_server_error],
    "additional_checks": [taken_where_it_is_right, well],
}
UNGUARDED = {**CHECKED, "excluded_checks": [*CHECKED["excluded_checks"], ignored_auth]}
"""Where no token is configured one is ignored indeed, as the description says."""


def started(folder: Path, name: str, auth: str = "") -> Iterator[Gateway]:
    (folder / "short.yaml").write_text(SHORT)
    gateway = Gateway(folder, auth + SERVED, name=name)
    try:
        yield gateway.start()
    finally:
        gateway.stop()


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    yield from started(tmp_path_factory.mktemp("guarded"), "guarded", GUARD)


@pytest.fixture(scope="module")
def unguarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    yield from started(tmp_path_factory.mktemp("unguarded"), "unguarded")


@pytest.mark.req("SEC-2")
@described().parametrize()
@bounded(10)
def test_what_the_operator_is_told_is_what_is_described(
    case: schemathesis.Case, guarded: Gateway
) -> None:
    case.call_and_validate(base_url=guarded.url, headers=AS_OPERATOR, **CHECKED)


@described(coverage=False).parametrize()
@bounded(10)
def test_where_no_token_is_asked_for_the_same_holds(
    case: schemathesis.Case, unguarded: Gateway
) -> None:
    case.call_and_validate(base_url=unguarded.url, **UNGUARDED)


@pytest.mark.req("SEC-2")
@described(coverage=False).parametrize()
@bounded(3)
def test_without_a_token_all_that_asks_for_one_says_so(
    case: schemathesis.Case, guarded: Gateway
) -> None:
    case.headers.pop("x-api-key", None)
    case.headers.pop("Authorization", None)
    case.headers.pop("Transfer-Encoding", None)  # an empty one is no HTTP: 400 before anything else
    response = case.call_and_validate(base_url=guarded.url, **CHECKED)
    if case.operation.definition.raw.get("security") != []:
        assert response.status_code in (401, 404, 405), response.status_code


def test_a_task_is_where_its_links_say_whatever_is_done_to_it(guarded: Gateway) -> None:
    """Sequences of requests along the links of the description: submit, look, stream, cancel."""
    seen: set[tuple[str, int]] = set()

    class Tasks(described().include(tag="tasks").as_state_machine()):  # type: ignore[misc]
        def get_call_kwargs(self, case: schemathesis.Case) -> dict[str, Any]:
            return {"base_url": guarded.url, "headers": AS_OPERATOR}

        def after_call(self, response: schemathesis.Response, case: schemathesis.Case) -> None:
            super().after_call(response, case)
            seen.add((case.operation.label, response.status_code))

        def validate_response(
            self, response: schemathesis.Response, case: schemathesis.Case, **kwargs: Any
        ) -> None:
            case.validate_response(
                response, recorder=self.recorder, transport_kwargs=kwargs, **CHECKED
            )

    Tasks.run(settings=bounded(20, stateful_step_count=8))
    assert seen >= {
        ("POST /v1/tasks", 202),
        ("GET /v1/tasks/{id}", 200),
        ("GET /v1/tasks/{id}/stream", 200),
        ("POST /v1/tasks/{id}/cancel", 200),
    }
