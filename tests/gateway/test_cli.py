"""The commands: what they print, and how they exit."""

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from adapters.fakellmd.settings import LlmdSettings
from gateway import cli
from gateway.cli import FAILED, OK, REFUSED, main
from gateway.settings import LoadedConfig
from gateway.simulation import report
from gateway.simulation.plots import NoMatplotlib
from tests.fakes.edge import chat_body
from tests.fakes.simulated import files


@pytest.fixture(autouse=True)
def _no_config(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(cli.CONFIG_VARIABLE, raising=False)
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def config(folder: Path, text: str) -> str:
    file = folder / "setpoint.yaml"
    file.write_text(text)
    return str(file)


def body_file(folder: Path, **members: object) -> str:
    file = folder / "request.json"
    file.write_bytes(chat_body(**{"model": "assistant", **members}))
    return str(file)


def test_the_version_is_told_without_loading_the_gateway() -> None:
    script = (
        "import sys\nfrom gateway.cli import main\n"
        "try: main(['--version'])\nexcept SystemExit: pass\n"
        "print([m for m in ('aiohttp', 'cel', 'prometheus_client', 'uvloop') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    told, loaded = done.stdout.splitlines()
    assert told.startswith("setpoint ")
    assert loaded == "[]"


@pytest.mark.parametrize(
    "command", ["serve", "check", "explain", "simulate", "records", "replay", "llmd"]
)
def test_each_command_shows_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([command, "--help"])
    assert caught.value.code == 0
    assert f"example:\n  setpoint {command}" in capsys.readouterr().out


def test_the_examples_are_right(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("serve", "check", "explain", "simulate", "records", "replay", "llmd"):
        with pytest.raises(SystemExit):
            main([command, "--help"])
        example = capsys.readouterr().out.rpartition("setpoint ")[2].split()
        cli._parser().parse_args(example)


@pytest.mark.parametrize("argv", [[], ["sevre"], ["explain"], ["serve", "--nope"]])
def test_a_wrong_command_line_exits_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(argv)
    assert caught.value.code == 2
    assert "usage: setpoint" in capsys.readouterr().err


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


BAD_POLICIES = """
rules:
  - {name: a, when: requst.n > 1, then: {prioritty: 3}}
  - {name: b, then: {model: nope, pool: nowhere}}
"""


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


FORGOTTEN = (
    "models: [{name: m, pool: sim, quality: 0.9}, {name: b, pool: sim}, {name: c, pool: sim}]\n"
    "routes: {m: [m, b], c: [c, m]}"
)


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


def test_explain_names_the_fallbacks_that_the_floor_keeps_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = config(tmp_path, FORGOTTEN)
    assert main(["explain", "-c", file, body_file(tmp_path, model="m")]) == OK
    held_back = "b is not tried: it is unrated; the floor of intent interactive is 0.6"
    assert held_back in capsys.readouterr().out
    assert main(["explain", "-c", file, body_file(tmp_path, model="c")]) == OK
    assert "is not tried" not in capsys.readouterr().out


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


def test_a_missing_configuration_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = str(tmp_path / "none.yaml")
    for command in ("check", "serve"):
        assert main([command, "-c", missing]) == REFUSED
        assert capsys.readouterr().err == f"{missing}:1:1: No such file or directory\n"


def test_the_environment_names_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(cli.CONFIG_VARIABLE, config(tmp_path, "nonsense: 1"))
    assert main(["check"]) == REFUSED
    assert "nonsense" in capsys.readouterr().err


def test_explain_shows_the_decision_and_the_body(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = body_file(tmp_path)
    assert main(["explain", file, "--header", "x-setpoint-intent=batch"]) == OK
    told = capsys.readouterr().out
    assert "> batch" in told
    assert "batch without a length of its own stays short" in told
    assert "2048" in told
    assert "sim-large" in told


def test_explain_shows_what_would_become_of_a_task(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", body_file(tmp_path), "--task"]) == OK
    assert "> background   it came as a task" in capsys.readouterr().out


@pytest.mark.req("ENG-3")
@pytest.mark.parametrize(("flags", "tested"), [((), True), (("--no-self-test",), False)])
def test_serve_can_be_told_to_ask_no_backend_for_tokens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: tuple[str, ...], *, tested: bool
) -> None:
    served: list[LoadedConfig] = []

    async def serve(loaded: LoadedConfig, say: object) -> None:
        served.append(loaded)

    monkeypatch.setattr("gateway.serve.serve", serve)
    assert main(["serve", "--config", config(tmp_path, ""), *flags]) == OK
    assert [pool.self_test for pool in served[0].pools] == [tested]


def test_explain_as_json_from_standard_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    body = io.BytesIO(chat_body(model="assistant"))
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(body))
    assert main(["explain", "-", "--json"]) == OK
    told = json.loads(capsys.readouterr().out)
    assert told["intent"] == "interactive"
    assert told["models"][0] == "assistant"


@pytest.mark.parametrize(
    ("members", "told"),
    [({"model": "asistant"}, "model_not_found"), ({"messages": 5}, "invalid_value")],
)
def test_explain_refuses_as_the_gateway_would(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], members: dict[str, object], told: str
) -> None:
    assert main(["explain", body_file(tmp_path, **members)]) == REFUSED
    shown = capsys.readouterr()
    assert told in shown.out + shown.err


def test_explain_says_which_file_it_cannot_read(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "/nonexistent.json"]) == FAILED
    assert "/nonexistent.json: No such file" in capsys.readouterr().err


# -- simulate ---------------------------------------------------------------------------

TRACE = "arrival_s,input_tokens,output_tokens\n0,100,11\n1,100,11\n40,100,11\n"


@pytest.fixture
def simulate(tmp_path: Path) -> list[str]:
    """The command with a configuration and a trace of three requests."""
    trace = tmp_path / "trace.csv"
    trace.write_text(TRACE)
    return ["simulate", "--config", str(files(tmp_path)), "--trace", str(trace)]


@pytest.mark.req("INT-12")
def test_simulate_prints_what_came_of_the_trace(
    simulate: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(simulate) == OK
    told = capsys.readouterr().out
    assert told.startswith("setpoint: 3 of 3 requests good in 0:40 at 0.0")
    assert "no decisions: nothing had to be done" in told


@pytest.mark.req("INT-12")
def test_simulate_writes_rows_json_and_a_report(simulate: list[str], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    rows, result, page = (tmp_path / name for name in ("rows.csv", "result.json", "report.html"))
    flags = ["--load", "1.6", "--seed", "7", "--drift", "at=1s,itl=1.5x", "--drift", "at=2s,itl=1x"]
    files = ["--requests", str(rows), "--json", str(result), "--report", str(page)]
    assert main([*simulate, *flags, *files]) == OK
    assert len(rows.read_text().splitlines()) == 4
    told = json.loads(result.read_text())
    assert (told["offered"], told["seed"], told["controller"]) == (3, 7, "setpoint")
    assert told["load"] == pytest.approx(1.6)
    assert "<svg" in page.read_text()


@pytest.mark.req("INT-12")
@pytest.mark.parametrize("controller", ["none", "static:2", "vegas", "gradient2", "envoy"])
def test_simulate_lets_others_control(
    simulate: list[str], controller: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*simulate, "--controller", controller]) == OK
    assert capsys.readouterr().out.startswith(f"{controller}: ")


@pytest.mark.req("INT-12")
def test_simulate_without_a_configuration_is_about_the_engine_that_serve_starts(
    simulate: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["simulate", *simulate[3:]]) == OK
    assert "served 3 by assistant; " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--load", "0"), "'0' is not a load from 0.001 to 1000, such as 1.6"),
        (("--load", "nan"), "'nan' is not a load"),
        (("--controller", "vegsa"), "no rival is called 'vegsa': there are none, static:N"),
        (("--drift", "at=1s"), "neither itl nor factor is given"),
        (("--seed", "x"), "invalid int value"),
    ],
)
def test_simulates_wrong_flags_exit_2(
    simulate: list[str],
    flags: tuple[str, ...],
    told: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as caught:
        main([*simulate, *flags])
    assert caught.value.code == REFUSED
    assert told in capsys.readouterr().err


def test_simulate_says_what_is_wrong_with_a_trace(
    simulate: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trace = tmp_path / "trace.csv"
    trace.write_text(TRACE.replace("output_tokens\n", "output_tokens,intent\n"))
    assert main(simulate) == REFUSED
    assert f"{trace}:2:1: the row has 3 values" in capsys.readouterr().err
    trace.write_text("arrival_s,input_tokens,output_tokens,intent\n0,1,1,\n1,1,1,chta\n")
    assert main(simulate) == REFUSED
    told = capsys.readouterr().err
    assert told == f"{trace}:3:1: intent: there is no intent 'chta' (did you mean 'chat'?)\n"


def test_simulate_needs_something_to_simulate(
    simulate: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = config(tmp_path, "pools: [{id: o, engine: openai}]\nmodels: [{name: m, pool: o}]")
    assert main(simulate) == REFUSED
    told = capsys.readouterr().err
    assert told.startswith(f"{file}:1:1: no model is described, so there is nothing to simulate")
    assert "simulate: {" in told


def test_simulate_says_which_file_it_cannot_write(
    simulate: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*simulate, "--json", str(tmp_path / "nowhere" / "x.json")]) == FAILED
    assert "nowhere/x.json: No such file" in capsys.readouterr().err


def test_a_report_without_matplotlib_says_how_to_get_it(
    simulate: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def html(report: object) -> str:
        raise NoMatplotlib("plots need matplotlib")

    monkeypatch.setattr(report, "html", html)
    assert main([*simulate, "--report", str(tmp_path / "x.html")]) == FAILED
    shown = capsys.readouterr()
    assert shown.err == "setpoint simulate: plots need matplotlib\n"
    assert "3 of 3 requests good" in shown.out


# -- llmd -------------------------------------------------------------------------------


def settings(*flags: str) -> LlmdSettings:
    return cli._llmd_settings(cli._parser().parse_args(["llmd", *flags]))


@pytest.mark.req("INT-9")
def test_llmds_flags_become_its_settings() -> None:
    made = settings(
        *("--replicas", "3", "--model", "a", "--model", "b", "--max-num-seqs", "5", "--seed", "7"),
        *("--max-model-len", "99", "--failure-injection-rate", "2.5", "--startup-duration", "2s"),
    )
    assert (made.replicas, made.max_num_seqs, made.seed, made.max_model_len) == (3, 5, 7, 99)
    assert [model.name for model in made.models] == ["a", "b"]
    assert (made.failure_injection_rate, made.startup_duration_s) == (2.5, 2.0)
    slow = settings("--time-to-first-token", "250ms", "--inter-token-latency", "5ms")
    assert (slow.latency.time_to_first_token_s, slow.latency.inter_token_latency_s) == (0.25, 0.005)
    assert settings() == LlmdSettings()


@pytest.mark.req("INT-9")
def test_llmds_endpoint_picker_has_flags_and_a_file_for_the_rest(tmp_path: Path) -> None:
    file = tmp_path / "settings.json"
    file.write_text('{"epp": {"profile": "main"}, "max_num_seqs": 9}')
    made = settings(
        *("--flow-control", "--objective", "web=10", "--objective", "batch=-10"),
        *("--settings", str(file), "--replicas", "2"),
    )
    assert (made.epp.flow_control, made.epp.profile) == (True, "main")
    assert made.epp.objectives == {"web": 10, "batch": -10}
    assert (made.replicas, made.max_num_seqs) == (2, 9)


@pytest.mark.parametrize(
    "flags",
    [
        ("--objective", "batch"),
        ("--objective", "batch=low"),
        ("--inter-token-latency", "fast"),
        ("--inter-token-latency", "0s"),
        ("--replicas", "0"),
        ("--max-num-seqs", "-1"),
        ("--startup-duration", "x"),
        ("--model", "a b"),
    ],
)
def test_llmds_wrong_flags_exit_2(
    flags: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["llmd", *flags]) == REFUSED
    told = capsys.readouterr().err
    assert told.startswith("setpoint llmd: ")
    assert flags[0] in told
    assert "$." not in told


@pytest.mark.parametrize("port", ["70000", "65536", "-1", "http"])
def test_llmd_refuses_what_is_no_port(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["llmd", "--port", port])
    assert caught.value.code == REFUSED
    assert "is not a port from 0 to 65535" in capsys.readouterr().err
