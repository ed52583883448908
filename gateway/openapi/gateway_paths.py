"""The gateway itself: what it can do, how it is, and what its operator may tell it."""

from contracts.capability_answers import Capabilities
from contracts.errors import ErrorEnvelope
from contracts.operator_answers import Liveness, Readiness, Reloaded, ReloadRefused
from gateway.openapi.errors import AUTHENTICATED
from gateway.openapi.media import json_content
from gateway.openapi.operations import NO_TOKEN, operation_object
from gateway.openapi.references import Object
from gateway.openapi.responses import response_object


def gateway_paths() -> Object:
    return {
        "/v1/capabilities": {
            "get": operation_object(
                "capabilities",
                "What this gateway can do",
                {200: response_object("As it is now.", json_content(Capabilities))},
                AUTHENTICATED,
            )
        },
        "/livez": {
            "get": operation_object(
                "livez",
                "Is the process alive?",
                {200: response_object("It is.", json_content(Liveness))},
                security=NO_TOKEN,
            )
        },
        "/readyz": {"get": _readiness("readyz")},
        "/health": {"get": _readiness("health")},
        "/metrics": {
            "get": operation_object(
                "metrics",
                "Prometheus metrics",
                {
                    200: response_object(
                        "The exposition.", {"text/plain": {"schema": {"type": "string"}}}
                    )
                },
                AUTHENTICATED,
            )
        },
        "/openapi.json": {
            "get": operation_object(
                "openapi",
                "This description",
                {
                    200: response_object(
                        "OpenAPI 3.1.", {"application/json": {"schema": {"type": "object"}}}
                    )
                },
                security=NO_TOKEN,
            )
        },
        "/admin/reload": {
            "post": operation_object(
                "reload",
                "Read the policies again",
                {
                    200: response_object("They are in force.", json_content(Reloaded)),
                    422: response_object(
                        "They are broken; the old ones stay in force.", json_content(ReloadRefused)
                    ),
                },
                AUTHENTICATED,
            )
        },
    }


def _readiness(identifier: str) -> Object:
    return operation_object(
        identifier,
        "Can it serve?",
        {
            200: response_object("It can.", json_content(Readiness)),
            503: response_object(
                "It cannot, and why; or too many connections.",
                json_content(Readiness, ErrorEnvelope),
            ),
        },
        security=NO_TOKEN,
    )
