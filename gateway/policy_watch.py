"""Policy files that change on disk are put into force, within a second.

The files are looked at, by name, a few times a second. Subscribing to the file system instead
(inotify) follows what a name meant when the watch began: it is left with the old folder when a
checkout, a `mv` or a moved link replaces it, and hears nothing of network and container mounts.
A look is one `stat` a file. How a change is checked and swapped in is `Gateway.reload_policies`'.
"""

import asyncio
from pathlib import Path

from contracts.problems import ProblemsFound
from gateway.policy_files import policy_paths
from gateway.runtime import Gateway

LOOK_S = 0.3
"""Between two looks. A change is in force after two of them at most, and the time it takes to compile."""

Look = tuple[object, ...]
"""What the policies were at one moment; equal looks mean equal content."""


async def watch(gateway: Gateway, every_s: float = LOOK_S) -> None:
    """Keep the policies in force those on disk. For ever; cancel to stop.

    Broken or vanished policies are refused once, and the old ones stay in force.
    """
    path = gateway.loaded.policies_path
    read: Look | None = None  # not what the gateway began with: that may have changed since
    before: Look | None = None
    while True:
        now = await asyncio.to_thread(_look, path)
        # Two equal looks: editors and checkouts write in several steps, and half a file may well be
        # a valid policy. The look is older than the reading, so no later edit is taken for it.
        if now == before and now != read:
            read = now
            await refresh(gateway)
        before = now
        await asyncio.sleep(every_s)


async def refresh(gateway: Gateway) -> None:
    """Put what is on disk now into force, if it can be."""
    try:
        await gateway.reload_policies()
    except ProblemsFound:
        return  # logged where it was refused; the old policies stay


async def reload_on(hangup: asyncio.Event, gateway: Gateway) -> None:
    """The same each time `hangup` is set. For ever; cancel to stop."""
    while True:
        await hangup.wait()
        hangup.clear()
        await refresh(gateway)


def _look(path: Path) -> Look:
    try:
        return tuple(_mark(file) for file in policy_paths(path))
    except ProblemsFound as exc:
        return (str(exc),)


def _mark(file: Path) -> Look:
    """The inode as well as its times, for a file replaced by an older one; `ctime` for one that may
    be read now."""
    try:
        seen = file.stat()
    except OSError as exc:
        return str(file), exc.errno
    return str(file), seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns
