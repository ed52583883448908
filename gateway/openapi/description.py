"""The whole description: what it says of the gateway, its paths, and the parts that they share."""

import json

from gateway.openapi.control_paths import control_paths
from gateway.openapi.errors import ERRORS, error_response
from gateway.openapi.gateway_paths import gateway_paths
from gateway.openapi.headers import HEADERS
from gateway.openapi.inference_paths import inference_paths
from gateway.openapi.model_paths import model_paths
from gateway.openapi.pool_paths import pool_paths
from gateway.openapi.schemas import component_schemas
from gateway.openapi.task_paths import task_paths
from gateway.version import VERSION


def document() -> bytes:
    """The description of the running version, as UTF-8 JSON. Takes 0.1 s."""
    described = {
        "openapi": "3.1.1",
        "info": {
            "title": "Setpoint",
            "version": VERSION,
            "summary": "OpenAI's API, kept inside the intents that an operator declared.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"bearer": []}, {"apiKey": []}],
        "tags": [
            {"name": "inference", "description": "OpenAI's endpoints, and Anthropic's messages."},
            {"name": "tasks", "description": "Work that is handed in, watched and fetched."},
            {"name": "operation", "description": "Health, metrics, administration."},
        ],
        "paths": {
            **inference_paths(),
            **model_paths(),
            **control_paths(),
            **task_paths(),
            **pool_paths(),
            **gateway_paths(),
        },
        "components": {
            "schemas": component_schemas(),
            "responses": {str(status): error_response(status) for status in ERRORS},
            "headers": {
                name: {"description": text, "schema": {"type": kind}}
                for name, (kind, text) in HEADERS.items()
            },
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "Not needed where the configuration names no token.",
                },
                "apiKey": {"type": "apiKey", "in": "header", "name": "x-api-key"},
            },
        },
    }
    return (json.dumps(described, indent=2, ensure_ascii=False) + "\n").encode()
