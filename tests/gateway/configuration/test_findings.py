"""What is wrong is said once, and nothing is said of what a mistake may have hidden."""

from pathlib import Path

import pytest

from tests.support.configured import problems


@pytest.mark.req("SEC-4")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "auth: {token: {file: /nonexist}}\nmodels: [{name: a, pool: simm}]\ndrain_timeout: 5x",
            ["auth.token.file", "models[0].pool", "drain_timeout"],
        ),
        (
            "models: [{name: a, pool: simm}]\nroutes: {a: [a, b]}",
            ["models[0].pool", "routes.a[1]"],
        ),
        (
            "pools: [{id: a, engine: vlm}, {id: b, engine: vllm, retries: x}, {id: a, engine: openai}]\n"
            "models: [{name: m, pool: c}]",
            ["pools[0].engine", "pools[1]", "pools[1].retries", "pools[2].id", "models[0].pool"],
        ),
        (
            "auth: {keys: [{name: a, token: ''}, {name: b, token: x}, {name: c, token: x}]}\n"
            "limits: {body: lots}",
            ["auth.keys[0].token", "auth.keys[2].token", "limits.body"],
        ),
    ],
)
def test_a_wrong_field_hides_no_problem_between_others(
    tmp_path: Path, text: str, expected: list[str]
) -> None:
    assert [problem.split(": ")[1] for problem in problems(tmp_path, text)] == expected


@pytest.mark.parametrize(
    "text",
    [
        "bind_addr: 0.0.0.0:80\nauht: {token: x1}",
        "bind_addr: 0.0.0.0:80\nauth: {token: [x1]}",
        "pool: [{id: a, engine: openai}]\nmodels: [{name: m, pool: a}]",
        "pools: [{id: 'a b', engine: openai}]\nmodels: [{name: m, pool: a}]",
        "pools: [{id: a, engine: vllm, endpont: 'http://x'}]",
        "pools: [{id: a, engine: vlm}]",
        "pools: [{id: a, engine: embeded, endpoint: 'http://x'}]",
        "models: [{name: 'm n', pool: sim}]\nroutes: {x: [mn]}",
        "models: 5\nroutes: {x: [m]}",
        "routes: {x: ['a b']}",
        "polices: nowhere",
        "pools: [{id: a, engine: vllm, simulat: {}}]\nmodels: [{name: m, pool: a}]",
        "pools: [{id: a, engine: vllm, simulate: {replicas: 0}}]\nmodels: [{name: m, pool: a}]",
        "pools: [{id: a, engine: vllm, endpont: 'http://x'}]\nmodels: [{name: m, pool: a}, "
        "{name: n, pool: a, simulate: {}}]",
        "pools: [{id: a, engine: vllm}]\nmodels: [{name: m, pool: a, simulate: {replica: 2}}]",
        "pools: [{id: a, engine: vllm}]\nmodels: [{name: m, pool: 'a b', simulate: {}}]",
        "pools: [{id: a, engine: vllm, simulate: {}}]\nmodels: [{name: m, pool: [a]}]",
        "pools: [{id: a, engine: vlm, inference_ttl: true}]",
        "logging: {file: [a], decisions: a}",
    ],
)
def test_one_mistake_is_one_problem(tmp_path: Path, text: str) -> None:
    """What a slip may have hidden is not missed a second time."""
    assert len(problems(tmp_path, text)) == 1
