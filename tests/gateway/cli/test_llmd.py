"""`setpoint llmd`: what its flags mean."""

from pathlib import Path

import pytest

from adapters.fakellmd.settings import LlmdSettings
from gateway.cli import REFUSED, main
from gateway.cli.llmd import settings_of
from gateway.cli.program import make_parser


def settings(*flags: str) -> LlmdSettings:
    return settings_of(make_parser().parse_args(["llmd", *flags]))


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
