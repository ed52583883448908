"""`docker-compose.yml`: whole, hardened, and with commands that really run.

No engine is needed: `docker compose config` judges the file where a client with compose is there,
the structure is judged here in any case, and the containers' commands are started natively.
"""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.req("OPS-8")

PROFILES = {
    "gateway": [],
    "llama": [],
    "llmd": ["llmd"],
    "prometheus": ["prometheus"],
    "load": ["load"],
}
IMAGES = {
    "gateway": "setpoint:local",
    "llama": "ghcr.io/ggml-org/llama.cpp:server",
    "llmd": "setpoint:local",
}
WITHOUT_HEALTHCHECK = {
    "gateway": "the Dockerfile has it",
    "load": "it runs once",
}


def compose_client() -> list[str] | None:
    """A docker client that has compose, or None."""
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]) is None:
            continue
        said = subprocess.run([*command, "version"], capture_output=True, timeout=30, check=False)
        if said.returncode == 0:
            return command
    return None


def mounts(service: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(source, target and options) of each volume."""
    for volume in service.get("volumes", []):
        source, _, target = volume.partition(":")
        yield source, target


def test_compose_itself_accepts_the_file(root: Path, environment: dict[str, str]) -> None:
    client = compose_client()
    if client is None:
        pytest.skip("no docker client with compose here; the structure is checked by its own tests")
    everything = [flag for name in PROFILES for flag in ("--profile", name)]
    said = subprocess.run(
        [*client, "-f", str(root / "docker-compose.yml"), *everything, "config", "--quiet"],
        env={**environment, "SETPOINT_TOKEN": "x"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert said.returncode == 0, said.stderr


def test_the_services_are_those_promised(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert {name: service.get("profiles", []) for name, service in services.items()} == PROFILES
    assert {name: services[name]["image"] for name in IMAGES} == IMAGES


def test_every_image_names_its_version(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        _, _, tag = service["image"].rpartition(":")
        assert tag not in ("", "latest")
        assert "/" not in tag


def test_what_is_mounted_exists_and_cannot_be_written(root: Path, compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        for source, target in mounts(service):
            if not source.startswith("."):
                assert source in compose["volumes"], f"{name}: {source}"
                continue
            assert target.endswith(":ro"), f"{name}: {source} is writable"
            # The operator puts models there; git keeps no empty folders.
            assert source == "./models" or (root / source).is_file(), f"{name}: {source}"


def test_what_a_service_is_told_to_read_is_mounted(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        text = " ".join(service.get("command", []))
        mounted = [target.removesuffix(":ro") for _, target in mounts(service)]
        for path in re.findall(r"(?<![\w./:])/(?:etc|mnt|models)/[^\s]+", text):
            assert any(path == m or path.startswith(f"{m}/") for m in mounted), f"{name}: {path}"


def test_each_service_is_hardened(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert not service.get("privileged"), name


@pytest.mark.req("SEC-1")
def test_ports_are_published_on_loopback_only(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), f"{name}: {port}"


@pytest.mark.req("SEC-1")
def test_nothing_that_needs_the_token_starts_without_one(compose: dict[str, Any]) -> None:
    for name in ("gateway", "prometheus", "load"):
        values = compose["services"][name]["environment"].values()
        assert any(str(value).startswith("${SETPOINT_TOKEN:?") for value in values), name


def test_each_service_says_whether_it_is_well(compose: dict[str, Any]) -> None:
    silent = {name for name, service in compose["services"].items() if "healthcheck" not in service}
    assert silent == set(WITHOUT_HEALTHCHECK)


def test_locust_is_the_version_of_the_lock(root: Path, compose: dict[str, Any]) -> None:
    locked = re.search(
        r"^locust==(\S+)", (root / "requirements-dev.lock").read_text("utf-8"), re.MULTILINE
    )
    assert locked is not None
    assert compose["services"]["load"]["image"] == f"locustio/locust:{locked[1]}"
