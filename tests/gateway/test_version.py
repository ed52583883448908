"""The version that is shown is the one that is built."""

from pathlib import Path

from setuptools.config.pyprojecttoml import read_configuration

from gateway.version import VERSION

PROJECT = Path(__file__).parents[2] / "pyproject.toml"


def test_what_is_built_has_the_version_that_is_shown() -> None:
    assert read_configuration(PROJECT)["project"]["version"] == VERSION
