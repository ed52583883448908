"""A problem reads as `file:line:column: path: message (hint)`."""

import pytest

from contracts.problems import Position, Problem, ProblemsFound, did_you_mean, spell_path


@pytest.mark.req("SEC-4")
def test_a_problem_names_its_place_its_path_and_its_remedy() -> None:
    problem = Problem(
        position=Position("a.yaml", 12, 7), path="rules[2].then", message="wrong", hint="fix it"
    )
    assert str(problem) == "a.yaml:12:7: rules[2].then: wrong (fix it)"
    assert str(Problem(position=Position("a.yaml"), message="wrong")) == "a.yaml:1:1: wrong"


@pytest.mark.req("SEC-4")
def test_problems_come_in_the_order_of_the_text() -> None:
    late = Problem(position=Position("a.yaml", 10, 1), message="late")
    early = Problem(position=Position("a.yaml", 9, 80), message="early")
    found = ProblemsFound([late, early])
    assert found.problems == [early, late]
    assert str(found) == "a.yaml:9:80: early\na.yaml:10:1: late"


def test_a_path_is_spelled_as_people_write_it() -> None:
    assert spell_path(()) == ""
    assert spell_path(("rules", 2, "then", "model")) == "rules[2].then.model"
    assert spell_path((0, "a")) == "[0].a"


def test_a_hint_is_the_nearest_word_or_what_exists() -> None:
    assert did_you_mean("bind_add", ["bind_addr", "auth"]) == "did you mean 'bind_addr'?"
    assert did_you_mean("zzz", ["b", "a", "b"]) == "known: a, b"
    assert did_you_mean("zzz", []) == "none are defined"
    assert did_you_mean("zzz", map(str, range(20))).endswith(", ...")
