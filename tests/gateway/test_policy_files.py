"""Policies on disk: which files count, what is refused, and that the shipped ones load everywhere."""

from pathlib import Path

import pytest

from contracts.catalog import Catalog, ModelCard
from contracts.problems import ProblemsFound
from gateway.policy_files import MAX_FILE_BYTES, MAX_FILES, SHIPPED, load_policies, policy_paths
from policies.objectives import objectives_of

BUILT_IN = Catalog(
    models={
        "assistant": ModelCard(name="assistant", pool="sim", upstream="a", quality=0.9),
        "assistant-small": ModelCard(name="assistant-small", pool="sim", upstream="b", quality=0.7),
    },
    pools=frozenset({"sim"}),
)


def refusal(path: Path, catalog: Catalog = BUILT_IN) -> str:
    with pytest.raises(ProblemsFound) as caught:
        load_policies(path, catalog)
    return str(caught.value)


@pytest.mark.req("INT-1", "INT-2")
@pytest.mark.parametrize(
    "catalog",
    [
        BUILT_IN,
        Catalog(pools=frozenset({"local"}), discovering=True),
        Catalog(models={"x": ModelCard(name="x", pool="p", upstream="x")}, pools=frozenset({"p"})),
    ],
    ids=["built-in models", "a backend that lists its own", "somebody's own models"],
)
def test_the_shipped_policies_load_with_any_catalogue(catalog: Catalog) -> None:
    policy = load_policies(SHIPPED, catalog)
    assert policy.default == "interactive"
    assert policy.for_tasks == "background"
    assert policy.intents.keys() == {"interactive", "batch", "background"}


@pytest.mark.req("ADM-1")
def test_a_night_of_tasks_breaks_no_promise_of_the_shipped_policies() -> None:
    policy = load_policies(SHIPPED, BUILT_IN)
    night = policy.intents["background"]
    assert {objective.signal for objective in objectives_of(night)} == {"error_rate"}
    assert (night.late, night.ladder) == ("serve", [])
    assert 0 <= night.priority < policy.intents["interactive"].priority


def test_a_copy_of_the_shipped_policies_is_held_to_the_catalogue(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text((SHIPPED / "default.yaml").read_text())
    load_policies(tmp_path, BUILT_IN)
    assert "unknown model 'assistant-small'" in refusal(tmp_path, Catalog())


def test_the_shipped_file_names_its_schema_first() -> None:
    first = (SHIPPED / "default.yaml").read_text().splitlines()[0]
    assert first == "# yaml-language-server: $schema=../contracts/policy.schema.json"


def test_files_are_read_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name in ("20-b.yaml", "10-a.yml", "30-c.yaml"):
        (tmp_path / name).write_text(f"rules: [{{name: {name}, then: {{priority: 1}}}}]")
    policy = load_policies(tmp_path, BUILT_IN)
    assert [rule.name for rule in policy.rules] == ["10-a.yml", "20-b.yaml", "30-c.yaml"]


def test_hidden_files_backups_folders_and_others_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_text("rules: [{name: r, then: {priority: 1}}]")
    for name in (".hidden.yaml", "._good.yaml", "good.yaml~", "#good.yaml#", "~x.yaml", "a.txt"):
        (tmp_path / name).write_text("!broken: [")
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "..data").mkdir()
    assert [path.name for path in policy_paths(tmp_path)] == ["good.yaml"]


def test_one_file_is_enough(tmp_path: Path) -> None:
    file = tmp_path / "only.conf"
    file.write_text("")
    assert load_policies(file, BUILT_IN).rules == ()


def test_a_missing_path_and_an_empty_folder_are_problems(tmp_path: Path) -> None:
    assert "no such file or folder" in refusal(tmp_path / "nowhere")
    assert "no policy file" in refusal(tmp_path)
    assert "cannot be read" in refusal(Path(f"{tmp_path}/a\0b"))


@pytest.mark.req("SEC-4")
def test_a_mistake_is_told_with_file_line_and_column(tmp_path: Path) -> None:
    file = tmp_path / "p.yaml"
    file.write_text(
        "rules:\n"
        "  - name: r\n"
        '    when: \'request.headers["x"] == "a" && request.modle == "b"\'\n'
        "    then: {prioritty: 3}\n"
    )
    assert f"{file}:4:12: rules[0].then: unknown field 'prioritty'" in refusal(file)
    file.write_text(file.read_text().replace("prioritty", "priority"))
    assert f"{file}:3:51: rules[0].when: unknown field request.modle" in refusal(file)


@pytest.mark.req("SEC-5")
def test_size_and_number_of_files_are_bounded(tmp_path: Path) -> None:
    (tmp_path / "big.yaml").write_bytes(b"#" * (MAX_FILE_BYTES + 1))
    assert "larger than 256 KiB" in refusal(tmp_path)
    for number in range(MAX_FILES):
        (tmp_path / f"{number}.yaml").touch()
    assert f"{MAX_FILES + 1} policy files" in refusal(tmp_path)


def test_bytes_that_are_no_text_are_told_with_their_place(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"rules: []\n# \xff")
    (tmp_path / "b.yaml").write_bytes(b"\xfe")
    (tmp_path / "c.yaml").write_text("rules: [{name: r, then: {pool: nowhere, intent: who}}]")
    told = refusal(tmp_path)
    assert "a.yaml:2:3: not UTF-8 text" in told
    assert "b.yaml:1:1: not UTF-8 text" in told
    assert "c.yaml:1:32: rules[0].then.pool: unknown pool 'nowhere'" in told
    assert "intent" not in told  # it may be in one of the others


def test_the_environment_is_put_in_where_it_is_given(tmp_path: Path) -> None:
    file = tmp_path / "p.yaml"
    file.write_text("rules: [{name: r, then: {model: '${SMALL}'}}]")
    policy = load_policies(file, BUILT_IN, env={"SMALL": "assistant-small"})
    assert policy.rules[0].then.model == "assistant-small"
