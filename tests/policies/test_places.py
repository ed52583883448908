"""Places inside YAML scalars."""

import pytest

from contracts.policy import PolicyFile
from contracts.yaml_document import read
from policies.places import within_scalar

STYLES = {
    "plain": "rules:\n  - name: r\n    when: request.modle == 'a'\n    then: {priority: 1}\n",
    "single": "rules:\n  - name: r\n    when: 'request.modle == \"a\"'\n    then: {priority: 1}\n",
    "double": 'rules:\n  - name: r\n    when: "request.modle == 1"\n    then: {priority: 1}\n',
    "block": "rules:\n  - name: r\n    when: |\n      true &&\n      request.modle == 'a'\n    then: {}\n",
    "folded": "rules:\n  - name: r\n    when: >-\n      request.modle == 'a'\n    then: {}\n",
}


@pytest.mark.parametrize("style", STYLES)
def test_the_place_is_exact_in_every_style_of_scalar(style: str) -> None:
    text = STYLES[style]
    reading = read(text, PolicyFile, file="a.yaml")
    assert reading.value is not None
    source = reading.value.rules[0].when
    assert source is not None
    lines = source.split("\n")
    row = next(nth for nth, line in enumerate(lines, 1) if "modle" in line)
    column = lines[row - 1].index("modle") + 1
    found = within_scalar(text, reading.position(("rules", 0, "when")), source, row, column)
    assert text.split("\n")[found.line - 1][found.column - 1 :].startswith("modle")


def test_a_doubtful_place_is_the_scalars_own() -> None:
    text = 'rules: [{name: r, then: {priority: 1}, when: "\\"a\\" == request.modle"}]'
    reading = read(text, PolicyFile, file="a.yaml")
    at = reading.position(("rules", 0, "when"))
    assert within_scalar(text, at, '"a" == request.modle', 1, 16) == at
    assert within_scalar("", at, "x", 1, 1) == at
    assert within_scalar(text, at, "x", 7, 1) == at
