"""Keys have a name and a token that no other has."""

from pathlib import Path

import pytest

from tests.support.configured import problems


@pytest.mark.req("SEC-2", "SEC-3")
def test_tokens_differ_and_are_not_shown(tmp_path: Path) -> None:
    text = (
        "auth:\n  token: tok-1\n  keys:\n"
        "    - {name: a, token: tok-1}\n    - {name: b, token: tok-2}\n    - {name: c, token: tok-2}\n"
        "    - {name: d, token: 'tok 3'}\n"
    )
    assert problems(tmp_path, text) == [
        "4:24: auth.keys[0].token: the same token as auth.token",
        "6:24: auth.keys[2].token: the same token as key 'b'",
        "7:24: auth.keys[3].token: a secret travels in a header: printable ASCII without blanks only",
    ]


@pytest.mark.req("SEC-4")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "auth: {keys: [{name: a, token: x1}, {name: a, token: x2}]}",
            "1:44: auth.keys[1].name: 'a' is given twice",
        ),
    ],
)
def test_a_part_that_does_not_fit_is_named_at_its_place(
    tmp_path: Path, text: str, expected: str
) -> None:
    assert problems(tmp_path, text) == [expected]
