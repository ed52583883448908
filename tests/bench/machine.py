"""The machine in a few words, and what a run needs of it."""

import os
import platform
import re
import resource
from pathlib import Path


def described() -> str:
    """Processor, cores, kernel and Python."""
    found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text("utf-8"), re.M)
    model = found[1].strip() if found else platform.machine()
    kernel = ".".join(platform.release().split(".")[:2])
    cores = len(os.sched_getaffinity(0))
    return f"{model}, {cores} cores, Linux {kernel}, Python {platform.python_version()}"


def load_average() -> float:
    """Over the last minute."""
    return os.getloadavg()[0]


def allow_files() -> None:
    """Let this process and its children open as many files as they may: a stream takes two."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
