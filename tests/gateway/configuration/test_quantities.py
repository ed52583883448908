"""Times and sizes: which may be nothing at all, and which go together."""

from pathlib import Path

import pytest

from tests.support.configured import load_text, problems


@pytest.mark.req("SEC-4")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("limits: {body: 0}", "1:16: limits.body: must be more than zero"),
        (
            "pools: [{id: a, engine: openai, timeouts: {idle: 0s}}]",
            "1:50: pools[0].timeouts.idle: must be more than zero",
        ),
        (
            "pools: [{id: a, engine: llmd, simulate: {inter_token_latency: 0}}]\n"
            "models: [{name: m, pool: a}]",
            "1:63: pools[0].simulate.inter_token_latency: must be more than zero",
        ),
        (
            "models: [{name: m, pool: sim, simulate: {prefill_overhead: 2d}}]",
            "1:60: models[0].simulate.prefill_overhead: must be at most 1d",
        ),
    ],
)
def test_a_part_that_does_not_fit_is_named_at_its_place(
    tmp_path: Path, text: str, expected: str
) -> None:
    assert problems(tmp_path, text) == [expected]


def test_no_drain_and_no_waiting_may_be_asked_for(tmp_path: Path) -> None:
    loaded = load_text(
        tmp_path,
        "drain_timeout: 0s\n"
        "pools: [{id: a, engine: openai, queue: {timeout: 0, max_requests: 0}}]\n",
    )
    assert loaded.pools[0].queue_timeout_s == 0
    assert loaded.pools[0].max_waiting == 0


@pytest.mark.req("ADM-1")
def test_a_task_that_says_nothing_waits_no_longer_than_one_may_that_does(tmp_path: Path) -> None:
    (told,) = problems(tmp_path, "tasks: {ttl: 2h, max_ttl: 1h}")
    assert told.startswith("1:14: tasks.ttl: a task that says nothing would wait longer")
    assert "(at most tasks.max_ttl, 3600s)" in told
    assert load_text(tmp_path, "tasks: {ttl: 1h, max_ttl: 1h}").config.tasks.ttl == 3600.0
    assert problems(tmp_path, "tasks: {ttl: 0s}") == ["1:14: tasks.ttl: must be more than zero"]


def test_a_time_that_never_passes_within_the_whole_attempt_is_doubtful(tmp_path: Path) -> None:
    def warned(timeouts: str) -> list[str]:
        pools = f"pools: [{{id: a, engine: openai, timeouts: {{{timeouts}}}}}]"
        return [str(warning) for warning in load_text(tmp_path, pools).warnings]

    (told,) = warned("total: 1s, first_token: 5s")
    assert "1:68: pools[0].timeouts.first_token: the whole attempt ends after 1s" in told
    (told,) = warned("connect: 31m")
    assert "timeouts.connect: the whole attempt ends after 1800s" in told
    assert warned("total: 1s") == warned("total: 5s, idle: 5s") == []
