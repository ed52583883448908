"""From policy files to a PolicySet: every name checked, every problem told, each with its place."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from contracts.catalog import Catalog
from contracts.policy import PolicyFile
from contracts.problems import ProblemsFound
from contracts.yaml_document import read
from policies.compiler import compile_policies


def problems(compiled: Any, *texts: str, **against: Any) -> list[str]:
    with pytest.raises(ProblemsFound) as caught:
        compiled(*texts, **against)
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.req("SEC-4", "INT-2")
@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("rules: [{name: r, then: {}}]", "a.yaml:1:25: rules[0].then: the rule does nothing"),
        ("rules: [{name: r, then: {model: bgi}}]", "a.yaml:1:33: rules[0].then.model: unknown model 'bgi' (did you mean 'big'?)"),
        ("rules: [{name: r, then: {pool: locla}}]", "unknown pool 'locla' (did you mean 'local'?)"),
        ("rules: [{name: r, then: {intent: x}}]", "unknown intent 'x' (none are defined)"),
        ("intents: [{name: a, match: {key: [wbe]}}]", "a.yaml:1:35: intents[0].match.key[0]: unknown key 'wbe' (did you mean 'web'?)"),
        ("intents: [{name: a, match: {model: [bigg]}}]", "unknown model 'bigg'"),
        ("intents: [{name: a, ladder: [shed, {switch_model: smal}]}]", "intents[0].ladder[1]: unknown model 'smal'"),
        ("intents: [{name: a, quality_floor: 0.8, ladder: [{switch_model: small}]}]", "quality 0.7, below the floor of 0.8 of intent 'a'"),
        ("rules: [{name: r, when: request.modle == 'a', then: {priority: 1}}]", "a.yaml:1:33: rules[0].when: unknown field request.modle"),
        ("rules: [{name: r, then: {params: {stream: true}}}]", "rules[0].then.params.stream: 'stream' may not be set"),
        ("rules: [{name: r, then: {modle: big}}]", "unknown field 'modle' (did you mean 'model'?)"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_place_and_the_nearest_word(
    compiled: Any, text: str, told: str
) -> None:
    (only,) = problems(compiled, text)
    assert told in only


def test_every_problem_of_every_file_is_told_at_once(compiled: Any) -> None:
    told = problems(
        compiled,
        "intents: [{name: a, match: {default: true}}, {name: a}]",
        "intents: [{name: b, match: {default: true}}]\n"
        "rules:\n"
        "  - {name: r, then: {model: nope}}\n"
        "  - {name: r, when: request.a == pool.b, then: {params: {n: 3}}}\n",
    )
    assert [line.split(":")[0:3] for line in told] == [
        ["a.yaml", "1", "53"],
        ["b.yaml", "1", "38"],
        ["b.yaml", "3", "29"],
        ["b.yaml", "4", "12"],
        ["b.yaml", "4", "29"],
        ["b.yaml", "4", "39"],
        ["b.yaml", "4", "61"],
    ]


def test_a_name_given_twice_is_told_with_both_places(compiled: Any) -> None:
    (intent,) = problems(compiled, "intents: [{name: a}]", "intents:\n  - name: a\n")
    assert "b.yaml:2:11" in intent
    assert "a second intent 'a' (the first is at a.yaml:1:18)" in intent
    (rule,) = problems(
        compiled, "rules: [{name: r, then: {priority: 1}}, {name: r, then: {priority: 2}}]"
    )
    assert "a second rule 'r'" in rule


@pytest.mark.parametrize(
    "match", ["key: [web]", "model: [big]", "header: {x-a: b}", "task: true", "default: true"]
)
def test_two_intents_cannot_claim_the_same_requests(compiled: Any, match: str) -> None:
    text = f"intents: [{{name: a, match: {{{match}}}}}, {{name: b, match: {{{match}}}}}]"
    (only,) = problems(compiled, text)
    assert "a second" in only


def test_a_second_intent_for_tasks_is_told_with_the_place_of_the_first(compiled: Any) -> None:
    text = "intents:\n  - {name: a, match: {task: true}}\n"
    (only,) = problems(compiled, text, text.replace("a,", "b,"))
    assert only.startswith("b.yaml:2:")
    assert "intents[0].match.task: a second intent for tasks (the first is at a.yaml:2:" in only
    assert compiled(text).for_tasks == "a"
    assert compiled(text.replace("true", "false")).for_tasks is None


def test_header_names_are_lowered(compiled: Any) -> None:
    policy = compiled("intents: [{name: a, match: {header: {X-Team: Nightly}}}]")
    assert policy.by_header == {"x-team": {"Nightly": "a"}}


def test_aliased_yaml_cannot_hide_a_second_intent(compiled: Any) -> None:
    (only,) = problems(compiled, "intents: [&a {name: a}, *a]")
    assert "a second intent" in only


def test_a_catalogue_that_discovers_accepts_models_it_does_not_know_yet(
    compiled: Any, catalog: Catalog
) -> None:
    text = (
        "intents: [{name: a, quality_floor: 0.8, match: {model: [later]}, ladder: [{switch_model: later}]}]\n"
        "rules: [{name: r, then: {model: later}}]"
    )
    compiled(text, against=structs.replace(catalog, discovering=True))
    assert len(problems(compiled, text)) == 3


def test_pools_that_are_not_all_known_are_not_checked(compiled: Any, catalog: Catalog) -> None:
    text = "rules: [{name: r, when: 'pools[\"x\"].queued > 1', then: {pool: x}}]"
    compiled(text, against=structs.replace(catalog, open_pools=True))
    assert len(problems(compiled, text)) == 2


def test_keys_that_a_proxy_names_need_not_be_listed(compiled: Any, catalog: Catalog) -> None:
    text = "intents: [{name: a, match: {key: [anybody]}}]"
    compiled(text, against=structs.replace(catalog, open_keys=True))
    assert problems(compiled, text)


def test_what_the_configuration_gives_a_key_is_held_against_the_policy(
    compiled: Any, catalog: Catalog
) -> None:
    against = structs.replace(catalog, key_intents={"web": "fast"})
    text = "intents: [{name: fast}, {name: slow}]"
    assert compiled(text, against=against).intents.keys() == {"fast", "slow"}
    (unknown,) = problems(compiled, "intents: [{name: fats}]", against=against)
    assert "unknown intent 'fast' (did you mean 'fats'?)" in unknown
    (both,) = problems(
        compiled, "intents: [{name: fast}, {name: slow, match: {key: [web]}}]", against=against
    )
    assert "a.yaml:1:52" in both


def test_a_file_that_cannot_be_read_raises_no_second_complaint_about_its_intents(
    compiled: Any,
) -> None:
    told = problems(compiled, "intents: [{nam: a}]", "rules: [{name: r, then: {intent: a}}]")
    assert all(line.startswith("a.yaml") for line in told)


DAMAGED = """
intents:
  - {name: fast, match: {default: true}, quality_floor: 0.8}
rules:
  - name: one
    when: request.modle == "a"
    then: {modle: big}
  - {name: two, wehn: "", then: {pool: locla}}
  - when: request.nn > 1
    then: {intent: fats}
  - 5
  - {name: six, when: requst.n > 1}
  - {name: one, then: {model: tiny, max_tokens: many, params: {stream: true}}}
"""


@pytest.mark.req("SEC-4", "INT-2")
def test_what_can_be_read_is_checked_beside_what_cannot(compiled: Any) -> None:
    told = problems(compiled, DAMAGED, "rules: [{name: two, then: {pool: nowhere}}]")
    assert [(line.split(" ")[0], line.split(": ", 1)[1].split(" (")[0]) for line in told] == [
        ("a.yaml:6:19:", "rules[0].when: unknown field request.modle"),
        ("a.yaml:7:12:", "rules[0].then: unknown field 'modle'"),
        ("a.yaml:8:17:", "rules[1]: unknown field 'wehn'"),
        ("a.yaml:8:40:", "rules[1].then.pool: unknown pool 'locla'"),
        ("a.yaml:9:5:", "rules[2]: the field 'name' is missing"),
        ("a.yaml:9:19:", "rules[2].when: unknown field request.nn"),
        ("a.yaml:10:20:", "rules[2].then.intent: unknown intent 'fats'"),
        ("a.yaml:11:5:", "rules[3]: expected a mapping, got a number"),
        ("a.yaml:12:5:", "rules[4]: the field 'then' is missing"),
        ("a.yaml:12:23:", "rules[4].when: unknown name 'requst'"),
        ("a.yaml:13:12:", "rules[5].name: a second rule 'one'"),
        ("a.yaml:13:31:", "rules[5].then.model: model 'tiny' has quality 0.3, below the floor of 0.8 of intent 'fast'"),
        ("a.yaml:13:49:", "rules[5].then.max_tokens: expected a whole number, got text"),
        ("a.yaml:13:72:", "rules[5].then.params.stream: 'stream' may not be set through params: how the answer travels is the client's to choose"),
        ("b.yaml:1:16:", "rules[0].name: a second rule 'two'"),
        ("b.yaml:1:34:", "rules[0].then.pool: unknown pool 'nowhere'"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "intent: [{name: a}]\nrules: [{name: r, then: {intent: a}}]",
        "intents: {name: a}\nrules: [{name: r, then: {intent: a}}]",
        "intents: [a]\nrules: [{name: r, then: {intent: a}}]",
        "intents: [{name: 5}]\nrules: [{name: r, then: {intent: a}}]",
        "intents: []\nintents: [{name: a}]\nrules: [{name: r, then: {intent: a}}]",
        "rules: [{name: r, then: {<<: {priority: 1}}}]",
        "rules: [{name: r, then: 5}]",
        "rules: [{name: r, thn: {priority: 1}, then: {}, then: {priority: 1}}]",
        "intents: [{name: a, ladder: [shet, {switch_model: nope}]}]",
        "intents: [{name: a, quality_floor: high, ladder: [{switch_model: tiny}]}]",
        "intents: [{name: a, quality_floor: 0.8, match: {default: true}}, {name: b}]\n"
        "rules: [{name: r, then: {model: tiny, intent: 5}}]",
    ],
)
def test_a_damaged_part_is_told_and_nothing_that_only_follows_from_it(
    compiled: Any, text: str
) -> None:
    reading = read(text, PolicyFile, file="a.yaml")
    assert problems(compiled, text) == [str(problem) for problem in reading.problems]


@pytest.mark.req("SEC-4", "INT-2")
@given(
    rule=st.integers(0, 2),
    broken=st.sampled_from(["x: 1", "dry_run: 5", "then: {priority: 1}"]),
)
def test_mending_one_mistake_never_brings_up_another(
    rule: int, broken: str, catalog: Catalog
) -> None:
    """Every other problem was told before, at its own place."""
    lines = [
        "  - name: one\n    when: request.a == 1\n    then: {pool: nowhere}",
        "  - name: two\n    when: pool.b > 1\n    then: {intent: nobody}",
        "  - name: one\n    when: 1 + 1\n    then: {model: nope, params: {n: 2}}",
    ]
    damaged = [*lines]
    damaged[rule] += f"\n    {broken}"

    def told(rules: list[str]) -> set[str]:
        text = "\n".join(["rules:", *rules])
        reading = read(text, PolicyFile, file="a.yaml")
        with pytest.raises(ProblemsFound) as caught:
            compile_policies([reading], catalog, {"a.yaml": text})
        found = [(p.path, p.message) for p in caught.value.problems]
        assert len(set(found)) == len(found)
        return {f"{path} {message}" for path, message in found}

    assert told(lines) < told(damaged)


@pytest.mark.req("INT-11")
def test_a_rules_model_below_every_floor_it_could_meet_is_refused(compiled: Any) -> None:
    rule = "rules: [{name: r, then: {model: tiny}}]"
    high = "intents: [{name: a, quality_floor: 0.8, match: {default: true}}]"
    (only,) = problems(compiled, high, rule)
    assert "below the floor" in only
    compiled(high.replace(", match: {default: true}", ""), rule)  # some requests have no intent
    compiled(high.replace("0.8", "0.2"), rule)
    both = "intents: [{name: a, quality_floor: 0.8}, {name: b}]"
    (named,) = problems(compiled, both, "rules: [{name: r, then: {intent: a, model: tiny}}]")
    assert "intent 'a'" in named
    compiled(both, "rules: [{name: r, then: {intent: b, model: tiny}}]")


def test_the_version_is_the_contents(compiled: Any) -> None:
    one, two = "intents: [{name: a, priority: 1}]", "intents: [{name: a, priority: 2}]"
    assert compiled(one).version == compiled("# a comment\n" + one).version
    assert compiled(one).version != compiled(two).version


def test_params_are_kept_as_json(compiled: Any) -> None:
    policy = compiled("rules: [{name: r, then: {params: {temperature: 0.2, stop: [a, b]}}}]")
    assert {n: bytes(raw) for n, raw in policy.rules[0].params.items()} == {
        "temperature": b"0.2",
        "stop": b'["a","b"]',
    }


WORDS = st.sampled_from(
    (
        "intents rules name when then match header key model default quality_floor ladder shed",
        "switch_model priority params reject intent pool true 0.5 big tiny web a request.model",
        "dry_run 800ms null ~ [] {} 1 -5 'x' request.n",
    )
).flatmap(lambda line: st.sampled_from(line.split()))
TREES = st.recursive(
    WORDS, lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(lambda xs: "[" + ", ".join(xs) + "]"),
        st.lists(st.tuples(WORDS, inner), max_size=5, unique_by=lambda p: p[0]).map(
            lambda ps: "{" + ", ".join(f"{k}: {v}" for k, v in ps) + "}"
        ),
    ), max_leaves=24,
)  # fmt: skip


@pytest.mark.req("SEC-4")
@given(texts=st.lists(st.one_of(TREES, st.text(max_size=60)), max_size=3))
def test_no_yaml_makes_the_compiler_fail_otherwise_than_it_says(
    texts: list[str], catalog: Catalog
) -> None:
    readings = [read(text, PolicyFile, file=f"{n}.yaml") for n, text in enumerate(texts)]
    problems = []
    try:
        compile_policies(readings, catalog)
    except ProblemsFound as exc:
        problems = exc.problems
    assert all(reading.value is not None for reading in readings) or problems


# -- ladders ------------------------------------------------------------------------------


@pytest.mark.req("INT-2")
@pytest.mark.parametrize(
    ("text", "dry"),
    [
        ("intents: [{name: a, ladder: [order, {shed: true, dry_run: true}]}]", [False, True]),
        ("intents: [{name: a, dry_run: true, ladder: [order, shed]}]", [True, True]),
        ("dry_run: true\nintents: [{name: a, ladder: [order, shed]}]", [True, True]),
    ],
)
def test_a_rehearsed_file_or_intent_rehearses_each_of_its_rungs(
    compiled: Any, text: str, dry: list[bool]
) -> None:
    policy = compiled(text, "intents: [{name: b, ladder: [order]}]")
    assert [rung.dry_run for rung in policy.intents["a"].ladder] == dry
    assert policy.intents["a"].dry_run is all(dry)
    assert [rung.dry_run for rung in policy.intents["b"].ladder] == [False]
    assert not policy.intents["b"].dry_run


@pytest.mark.req("SEC-4", "INT-5")
def test_a_rung_that_is_there_already_is_told_with_both_places(compiled: Any) -> None:
    (only,) = problems(
        compiled, "intents: [{name: a, ladder: [shed, order, {shed: true, dry_run: true}]}]"
    )
    assert "a.yaml:1:43: intents[0].ladder[2]: this rung is there already (it is ladder[0])" in only
    steps = "[{cap_tokens: 512}, {cap_tokens: 256}, {switch_model: small}, {switch_model: near}]"
    assert len(compiled(f"intents: [{{name: a, ladder: {steps}}}]").intents["a"].ladder) == 4


def test_what_could_not_be_read_is_not_called_a_repetition(compiled: Any) -> None:
    told = problems(compiled, "intents: [{name: a, ladder: [shet, order, shet]}]")
    assert [line.split(":")[2] for line in told] == ["30", "43"]
    assert not any("already" in line for line in told)
