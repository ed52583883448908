"""The examples of docs/policies.md, docs/control.md, docs/security.md and the README: every policy and
configuration in them is taken as the program would take it."""

import re
from pathlib import Path
from typing import Any

import pytest

from contracts.catalog import Catalog
from contracts.config import Config
from contracts.policy import PolicyFile
from contracts.yaml_document import read
from policies.compiler import compile_policies

ROOT = Path(__file__).parents[2]
PAGES = (
    "README.md",
    "docs/policies.md",
    "docs/control.md",
    "docs/design.md",
    "docs/llmd.md",
    "docs/security.md",
)
BLOCK = re.compile(r"^```yaml\n(.*?)^```", re.MULTILINE | re.DOTALL)
SOMEWHERE = Catalog(discovering=True, open_keys=True, open_pools=True)
"""Models, keys and pools of examples are anybody's."""


def examples() -> list[Any]:
    found = []
    for page in PAGES:
        for number, block in enumerate(BLOCK.findall((ROOT / page).read_text()), 1):
            found.append(pytest.param(block, id=f"{page} {number}"))
    return found


def is_excerpt(text: str) -> bool:
    """Rules without their heading."""
    return re.match(r"\s*- ", text) is not None


def is_policy(text: str) -> bool:
    return is_excerpt(text) or re.search(r"^(intents|rules):", text, re.MULTILINE) is not None


@pytest.mark.req("INT-1", "INT-2")
@pytest.mark.parametrize("text", examples())
def test_an_example_in_the_documentation_is_taken(text: str) -> None:
    if not is_policy(text):
        env = {"SETPOINT_TOKEN": "t", "OPENAI_API_KEY": "k"}
        reading = read(text, Config, file="example", env=env)
        assert reading.problems == []
        return
    if is_excerpt(text):
        text = "rules:\n" + text
    reading = read(text, PolicyFile, file="example")
    named = {intent.name for intent in reading.value.intents} if reading.value else set()
    asked = set(re.findall(r"intent: ([a-z]+)", text)) - named
    extra = "".join(f"  - {{name: {name}}}\n" for name in sorted(asked))
    others = [read(f"intents:\n{extra}", PolicyFile, file="others")] if extra else []
    policy = compile_policies([reading, *others], SOMEWHERE, {"example": text})
    assert policy.intents or policy.rules


def test_there_are_examples_on_every_page_that_promises_them() -> None:
    pages = {str(parameter.id).partition(" ")[0] for parameter in examples()}
    assert {"README.md", "docs/policies.md", "docs/design.md"} <= pages
