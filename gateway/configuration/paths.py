"""Files and folders that the configuration names. They start from the folder that it lies in."""

import os
from collections.abc import Callable
from pathlib import Path

from contracts.config import Config
from gateway.configuration.findings import Findings
from gateway.policy_files import SHIPPED


def policies_path(findings: Findings, config: Config) -> Path:
    """The file or folder of the policies; those that come with the gateway where none is named."""
    if config.policies is None:
        return SHIPPED
    path = Path(os.path.normpath(findings.base_dir / config.policies))
    if not exists(path, Path.exists):
        findings.note(("policies",), "no such file or folder")
    return path


def decisions_file(findings: Findings, config: Config) -> Path | None:
    """Where decisions are logged; None where they are not logged apart."""
    if not config.logging.decisions:
        return None
    path = findings.base_dir / config.logging.decisions
    if config.logging.file and os.path.normpath(findings.base_dir / config.logging.file) == (
        os.path.normpath(path)
    ):
        findings.note(("logging", "decisions"), "the same file as logging.file")
    return path


def exists(path: Path, test: Callable[[Path], bool]) -> bool:
    """`test(path)`, and False for a path that no file can have."""
    try:
        return test(path)
    except (OSError, ValueError):
        return False
