"""`setpoint check`: what it prints, and how it exits."""

from pathlib import Path

import pytest

from gateway.cli import OK, REFUSED, main
from tests.support.command_files import config

BAD_POLICIES = """
rules:
  - {name: a, when: requst.n > 1, then: {prioritty: 3}}
  - {name: b, then: {model: nope, pool: nowhere}}
"""
FORGOTTEN = (
    "models: [{name: m, pool: sim, quality: 0.9}, {name: b, pool: sim}, {name: c, pool: sim}]\n"
    "routes: {m: [m, b], c: [c, m]}"
)


def test_check_says_what_it_has_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "-c", config(tmp_path, "")]) == OK
    assert capsys.readouterr().out.startswith("ok: ")


@pytest.mark.req("SEC-4")
def test_check_prints_every_problem(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = config(tmp_path, "bind_adr: x\nlimits:\n  body: lots\nmodels: [{name: a, pool: nope}]\n")
    assert main(["check", "-c", file]) == REFUSED
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) >= 2
    for field, line in (("bind_adr", 1), ("limits.body", 3)):
        assert any(f"{file}:{line}:" in told and field in told for told in lines), lines


def test_check_prints_every_problem_of_the_policies(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "a.yaml").write_text("rules: [{name: a, when: requst.model == ''}]")
    (tmp_path / "policies" / "b.yaml").write_text("intents: [{name: b, priorty: 3}]")
    assert main(["check", "-c", config(tmp_path, "policies: policies")]) == REFUSED
    told = capsys.readouterr().err
    assert "a.yaml:1:" in told
    assert "b.yaml:1:" in told


@pytest.mark.req("SEC-4", "INT-2")
@pytest.mark.parametrize(
    ("text", "in_the_configuration", "unknown"),
    [
        ("policies: p\npools: [{id: [], engine: openai}]\nmodels: 5", ["2:14", "3:9"], []),
        (
            "policies: p\nbind_adr: x\nmodels: [{name: a, pool: 5}]",
            ["2:1", "3:26"],
            ["4:29", "4:41"],
        ),
        (
            "policies: p\nauth: {keys: [{name: web, token: {file: missing}}]}\n"
            "bind_addr: 127.0.0.1:99999",
            ["2:41", "3:12"],
            ["4:29", "4:41"],
        ),
    ],
    ids=["models and pools are not known", "of the wrong shape: they are", "of the right shape"],
)
def test_check_looks_at_the_policies_also_when_the_configuration_is_wrong(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    text: str,
    in_the_configuration: list[str],
    unknown: list[str],
) -> None:
    (tmp_path / "p").mkdir()
    policies = tmp_path / "p" / "a.yaml"
    policies.write_text(BAD_POLICIES)
    file = config(tmp_path, text)
    assert main(["check", "-c", file]) == REFUSED
    places = [told.split(": ")[0] for told in capsys.readouterr().err.splitlines()]
    wrong_anyway = ["3:21", "3:42"]
    assert places == [
        *(f"{policies}:{place}" for place in [*wrong_anyway, *unknown]),
        *(f"{file}:{place}" for place in in_the_configuration),
    ]


@pytest.mark.parametrize("more", ["", "\ndrain_timeout: 5x"])
def test_a_keys_unknown_intent_is_placed_where_the_configuration_gives_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: str
) -> None:
    file = config(tmp_path, f"auth:\n  keys: [{{name: w, token: t, intent: nointent}}]{more}")
    assert main(["check", "-c", file]) == REFUSED
    told = capsys.readouterr().err.splitlines()[0]
    assert told.startswith(f"{file}:2:38: auth.keys.w.intent: unknown intent 'nointent'")


@pytest.mark.parametrize(
    ("auth", "complaints"),
    [
        ("auht: {keys: [{name: web, token: t}]}", 1),
        ("auth: {keys: [{name: [], token: t}]}", 1),
        ("auth: {kyes: [{name: web, token: t}]}", 1),
        ("auth: {trust_proxy_auth: maybe}", 1),
        ("auth: {optional: maybe, keys: [{name: wbe, token: t}]}", 2),
    ],
)
def test_policies_may_name_keys_that_a_mistake_may_have_hidden(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], auth: str, complaints: int
) -> None:
    (tmp_path / "p.yaml").write_text("intents: [{name: a, match: {key: [web]}}]")
    assert main(["check", "-c", config(tmp_path, f"policies: p.yaml\n{auth}")]) == REFUSED
    assert len(capsys.readouterr().err.splitlines()) == complaints


def test_check_warns_of_fallbacks_below_every_floor(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = config(tmp_path, FORGOTTEN)
    assert main(["check", "-c", file]) == OK
    (told,) = capsys.readouterr().err.splitlines()
    assert told.startswith(f"warning: {file}:2:17: routes.m[1]: 'b' is unrated: ")


def test_the_targets_of_a_route_that_says_more_are_named_where_they_stand(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = config(tmp_path, FORGOTTEN.replace("m: [m, b]", "m: {targets: [m, b], resume: replay}"))
    assert main(["check", "-c", file]) == OK
    (told,) = capsys.readouterr().err.splitlines()
    assert told.startswith(f"warning: {file}:2:27: routes.m.targets[1]: 'b' is unrated: ")


def test_a_caller_whose_secret_is_missing_is_still_a_caller_to_the_policies(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "p.yaml").write_text("intents: [{name: a, match: {key: [web]}}]")
    keys = "auth: {keys: [{name: web, token: {file: missing}, intent: a}]}"
    assert main(["check", "-c", config(tmp_path, f"policies: p.yaml\n{keys}")]) == REFUSED
    (told,) = capsys.readouterr().err.splitlines()
    assert "secret file cannot be read" in told


@pytest.mark.parametrize("where", ["policies: nowhere", "policies: nowhere\nbind_adr: x"])
def test_policies_that_are_not_there_are_told_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], where: str
) -> None:
    assert main(["check", "-c", config(tmp_path, where)]) == REFUSED
    assert capsys.readouterr().err.count("no such file or folder") == 1
