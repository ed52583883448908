"""How a model's chats are written, where its engine has to be told."""

from pathlib import Path

import pytest

from contracts.problems import ProblemsFound
from contracts.prompt_template import TEMPLATES, PromptTemplate
from gateway.configuration import load

pytestmark = pytest.mark.req("RUN-2", "OPS-4")


def loaded(tmp_path: Path, template: str, engine: str = "triton") -> PromptTemplate | None:
    path = tmp_path / "setpoint.yaml"
    path.write_text(
        f"pools: [{{id: a, engine: {engine}, endpoint: 'http://127.0.0.1:1'}}]\n"
        f"models: [{{name: m, pool: a{template}}}]\n"
    )
    return load(path, env={}).catalog.models["m"].template


def test_a_template_has_a_name_or_is_written_out(tmp_path: Path) -> None:
    assert loaded(tmp_path, "") is None
    assert loaded(tmp_path, ", template: llama3") == TEMPLATES["llama3"]
    own = ", template: {user: 'U{text}', assistant: 'A{text}', reply: 'A'}"
    assert loaded(tmp_path, own) == PromptTemplate(user="U{text}", assistant="A{text}", reply="A")


@pytest.mark.parametrize(
    ("template", "engine", "said"),
    [
        ("nope", "triton", "template"),
        ("{user: 'U', assistant: 'A{text}', reply: ''}", "triton", "template.user"),
        ("{user: 'U{text}', assistant: 'A{text}'}", "triton", "reply"),
        ("chatml", "vllm", "engine vllm writes its prompts itself (for triton only)"),
    ],
)
def test_what_is_wrong_with_one_is_told_with_its_place(
    tmp_path: Path, template: str, engine: str, said: str
) -> None:
    with pytest.raises(ProblemsFound) as caught:
        loaded(tmp_path, f", template: {template}", engine)
    (problem,) = caught.value.problems
    assert said in str(problem)
    assert str(problem).count(":2:") == 1
