"""The whole configuration: what the gateway is built from, or everything that is wrong with it."""

import contextlib
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from contracts.problems import ProblemsFound
from gateway.configuration import load
from gateway.policy_files import SHIPPED
from tests.support.configured import problems

EXAMPLE = Path(__file__).parents[3] / "deploy" / "setpoint.example.yaml"


def test_the_example_is_yaml_for_everybody() -> None:
    """Editors and other tools read it as well: nothing in it may lean on Setpoint's own reading."""
    assert set(yaml.safe_load(EXAMPLE.read_text("utf-8"))) >= {
        "bind_addr",
        "auth",
        "pools",
        "models",
    }


@pytest.mark.req("SEC-3", "SEC-4")
def test_the_example_loads(tmp_path: Path) -> None:
    (tmp_path / "web").write_text("web-token\n", encoding="utf-8")
    (tmp_path / "night").write_text("night-token", encoding="utf-8")
    env = {
        "SETPOINT_TOKEN": "operator-token",
        "OPENAI_API_KEY": "sk-openai",
        "SECRETS_DIR": str(tmp_path),
    }
    loaded = load(EXAMPLE, env=env)
    assert (loaded.host, loaded.port) == ("0.0.0.0", 8080)
    assert loaded.token is not None
    assert loaded.token.reveal() == "operator-token"
    assert [(c.name, c.token.reveal(), c.intent, c.weight) for c in loaded.callers] == [
        ("web", "web-token", "interactive", 1.0),
        ("nightly", "night-token", "batch", 0.5),
    ]
    local, cluster, openai = loaded.pools
    assert (local.max_inflight, local.endpoints) == (4, ("http://127.0.0.1:8081",))
    assert cluster.namespace == "prod"
    assert list(cluster.simulated) == ["Llama-3.3-70B", "Llama-3.1-8B"]
    assert openai.endpoints == ("https://api.openai.com",)
    assert openai.timeouts.total_s == 1800.0
    assert loaded.catalog.models["assistant"].upstream == "Llama-3.3-70B"
    assert loaded.catalog.routes["assistant"] == ("assistant", "assistant-small")
    assert loaded.catalog.keys == {"web", "nightly"}
    assert loaded.catalog.key_intents == {"web": "interactive", "nightly": "batch"}
    assert not loaded.catalog.open_keys
    assert [pool.discovers for pool in loaded.pools] == [False, False, True]
    assert loaded.policies_path == SHIPPED
    shown = f"{loaded!r} {loaded.config}"
    for secret in ("operator-token", "web-token", "night-token", "sk-openai"):
        assert secret not in shown
        assert loaded.redactor().redact(f"x {secret} y") == "x *** y"


@pytest.mark.req("SEC-4")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("bind_adr: x", "1:1: unknown field 'bind_adr' (did you mean 'bind_addr'?)"),
    ],
)
def test_a_part_that_does_not_fit_is_named_at_its_place(
    tmp_path: Path, text: str, expected: str
) -> None:
    assert problems(tmp_path, text) == [expected]


@pytest.mark.req("SEC-4")
def test_every_problem_is_found_at_once(tmp_path: Path) -> None:
    text = (
        "bind_addr: 0.0.0.0:80\n"
        "pools: [{id: a, engine: vllm}, {id: a, engine: openai}]\n"
        "models: [{name: m, pool: b}]\n"
        "policies: nowhere\n"
    )
    assert [problem.split(": ")[1] for problem in problems(tmp_path, text)] == [
        "bind_addr",
        "pools[0]",
        "pools[1].id",
        "models[0].pool",
        "policies",
    ]


@given(text=st.text(alphabet="abekmnop{}[]:, 5'\n", max_size=60))
def test_check_never_fails_on_what_it_cannot_read(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    file = tmp_path_factory.getbasetemp() / "any.yaml"
    file.write_text(f"auth: {{keys: [{{name: a, {text}}}]}}\nmodels: [{{{text}}}]\npools: [{text}]")
    with contextlib.suppress(ProblemsFound):
        load(file, env={})


def test_a_linked_file_keeps_the_folder_it_was_named_in(tmp_path: Path) -> None:
    """A ConfigMap's files are links into a folder that its next update removes."""
    for name in ("data", "mounted"):
        (tmp_path / name).mkdir()
    (tmp_path / "data" / "real.yaml").write_text("drain_timeout: 1s\n", encoding="utf-8")
    (tmp_path / "mounted" / "setpoint.yaml").symlink_to(tmp_path / "data" / "real.yaml")
    loaded = load(tmp_path / "mounted" / "setpoint.yaml", env={})
    assert loaded.base_dir == tmp_path / "mounted"


@pytest.mark.req("SEC-4")
def test_a_file_that_cannot_be_read_is_one_problem(tmp_path: Path) -> None:
    with pytest.raises(ProblemsFound, match=r"none\.yaml:1:1: No such file or directory"):
        load(tmp_path / "none.yaml", env={})
    with pytest.raises(ProblemsFound, match="Is a directory"):
        load(tmp_path, env={})
    (tmp_path / "latin.yaml").write_bytes(b"# ok\n# caf\xe9\n")
    with pytest.raises(ProblemsFound, match=r"latin\.yaml:2:6: this is not UTF-8"):
        load(tmp_path / "latin.yaml", env={})
