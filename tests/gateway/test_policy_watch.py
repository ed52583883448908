"""Policy files that change on disk are in force soon, however they are changed."""

import asyncio
import contextlib
import logging
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from gateway.policy_watch import LOOK_S, watch
from tests.fakes.edge import Edge, eventually

MakeEdge = Callable[..., Awaitable[Edge]]
Watched = Callable[[], Awaitable[Edge]]
LOOK_FAST_S = 0.02


def write(path: Path, number: int) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"rules: [{{name: cap, then: {{max_tokens: {number}}}}}]\n")


def in_force(edge: Edge) -> int | None:
    """The number that `write` wrote."""
    return edge.gateway.policy.rules[0].then.max_tokens


@contextlib.asynccontextmanager
async def watching(edge: Edge) -> AsyncIterator[None]:
    task = asyncio.get_running_loop().create_task(watch(edge.gateway, LOOK_FAST_S))
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def a_few_looks() -> None:
    await asyncio.sleep(5 * LOOK_FAST_S)


def written_in_place(folder: Path) -> None:
    write(folder / "a.yaml", 2)


def renamed_over(folder: Path) -> None:
    """As editors do it."""
    write(folder / ".a.yaml.new", 2)
    (folder / ".a.yaml.new").rename(folder / "a.yaml")


def folder_replaced(folder: Path) -> None:
    """As a checkout of another branch does it."""
    folder.rename(folder.with_name("old"))
    write(folder / "a.yaml", 2)


def folder_made_again(folder: Path) -> None:
    shutil.rmtree(folder)
    write(folder / "a.yaml", 2)


@pytest.mark.parametrize("given", ["folder", "file"])
@pytest.mark.parametrize(
    "change", [written_in_place, renamed_over, folder_replaced, folder_made_again]
)
async def test_a_change_is_in_force_soon(
    make_edge: MakeEdge, tmp_path: Path, given: str, change: Callable[[Path], None]
) -> None:
    folder = tmp_path / "rules"
    write(folder / "a.yaml", 1)
    edge = await make_edge(f"policies: {'rules' if given == 'folder' else 'rules/a.yaml'}")
    async with watching(edge):
        await a_few_looks()
        change(folder)
        await eventually(lambda: in_force(edge) == 2)
        write(folder / "a.yaml", 3)  # what replaced it is watched as well
        await eventually(lambda: in_force(edge) == 3)


@pytest.mark.parametrize("given", ["mount", "mount/a.yaml", "mount/..data", "mount/..data/a.yaml"])
async def test_a_mounted_config_map_is_watched_behind_its_links(
    make_edge: MakeEdge, tmp_path: Path, given: str
) -> None:
    """Kubernetes moves the link `..data`; the files that are read are links through it."""
    mount = tmp_path / "mount"
    mount.mkdir()
    for number in (1, 2):
        write(mount / f"..{number}" / "a.yaml", number)
    (mount / "..data").symlink_to("..1")
    (mount / "a.yaml").symlink_to("..data/a.yaml")
    edge = await make_edge(f"policies: {given}")
    async with watching(edge):
        await a_few_looks()
        (mount / "..tmp").symlink_to("..2")
        (mount / "..tmp").rename(mount / "..data")
        await eventually(lambda: in_force(edge) == 2)


async def test_an_edit_before_the_watch_has_begun_is_not_missed(
    make_edge: MakeEdge, tmp_path: Path
) -> None:
    write(tmp_path / "rules" / "a.yaml", 1)
    edge = await make_edge("policies: rules")
    write(tmp_path / "rules" / "a.yaml", 2)
    async with watching(edge):
        await eventually(lambda: in_force(edge) == 2)


async def test_policies_that_vanish_stay_in_force_and_are_missed_once(
    make_edge: MakeEdge, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "rules"
    write(folder / "a.yaml", 1)
    edge = await make_edge("policies: rules")

    def refused() -> int:
        return sum(r.getMessage() == "policies_refused" for r in caplog.records)

    async with watching(edge):
        await a_few_looks()
        folder.rename(tmp_path / "elsewhere")
        await eventually(lambda: refused() == 1)
        await a_few_looks()
        assert (in_force(edge), refused()) == (1, 1)
        (tmp_path / "elsewhere").rename(folder)
        write(folder / "a.yaml", 2)
        await eventually(lambda: in_force(edge) == 2)


async def test_a_broken_edit_is_refused_once_and_the_next_good_one_is_taken(
    make_edge: MakeEdge, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "rules" / "a.yaml"
    write(file, 1)
    edge = await make_edge("policies: rules")
    async with watching(edge):
        await a_few_looks()
        file.write_text("rules: [")
        await eventually(lambda: "policies_refused" in caplog.messages)
        await a_few_looks()
        assert caplog.messages.count("policies_refused") == 1
        assert in_force(edge) == 1
        write(file, 2)
        await eventually(lambda: in_force(edge) == 2)


async def test_files_that_do_not_change_are_read_once(
    make_edge: MakeEdge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "rules" / "a.yaml", 1)
    edge = await make_edge("policies: rules")
    read = [0]
    reload_policies = edge.gateway.reload_policies

    async def counted() -> object:
        read[0] += 1
        return await reload_policies()

    monkeypatch.setattr(edge.gateway, "reload_policies", counted)
    async with watching(edge):
        await a_few_looks()
        await a_few_looks()
    assert read == [1]


async def test_a_file_that_is_still_being_written_is_left_alone(
    make_edge: MakeEdge, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An editor's half-written file may well be a valid policy that promises less."""
    caplog.set_level(logging.INFO)
    file = tmp_path / "rules" / "a.yaml"
    write(file, 1)
    edge = await make_edge("policies: rules")
    async with watching(edge):
        await a_few_looks()
        for number in range(10, 30):
            write(file, number)
            await asyncio.sleep(LOOK_FAST_S / 4)
        await eventually(lambda: in_force(edge) == 29)
    assert caplog.messages.count("policies_loaded") < 5


def test_an_edit_is_in_force_within_a_second() -> None:
    assert 2 * LOOK_S < 0.8  # the rest is for reading and compiling
