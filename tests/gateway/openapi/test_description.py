"""The whole description: valid, and true of the application it describes."""

import subprocess
import sys
from pathlib import Path

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

import contracts
from gateway.control import Control
from gateway.edge import Edge, make_app
from gateway.openapi.description import document
from gateway.runtime import Gateway
from gateway.tasks.desk import TaskDesk
from tests.support.described import DOCUMENT, operations

FOLDER = Path(contracts.__file__).parent


@pytest.mark.req("OPS-3")
def test_another_process_generates_the_same_bytes() -> None:
    code = "import sys; from gateway.openapi.description import document; sys.stdout.buffer.write(document())"
    command = [sys.executable, "-c", code]
    other = subprocess.run(command, capture_output=True, check=True, cwd=FOLDER.parent, timeout=60)
    assert other.stdout == document()


@pytest.mark.req("OPS-3")
def test_the_description_is_valid_openapi() -> None:
    OpenAPIV31SpecValidator(DOCUMENT).validate()
    assert DOCUMENT["openapi"].startswith("3.1.")


@pytest.mark.req("OPS-3")
async def test_the_described_operations_are_the_routes_of_the_application(
    gateway: Gateway,
) -> None:
    app = make_app(Edge(gateway, Control(gateway), TaskDesk(gateway)))
    routes = {
        (resource.canonical, route.method.lower())
        for resource in app.router.resources()
        for route in resource
        if route.method != "HEAD"  # comes with every GET
    }
    assert routes == {(path, method) for path, method, _ in operations()}
