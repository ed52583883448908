"""Reading a YAML document: right values, every problem at its place, and never an exception."""

from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts import yaml_nodes
from contracts.config import Config, SecretFile
from contracts.interpolation import hide
from contracts.policy import PolicyFile, Rung
from contracts.problems import Position
from contracts.yaml_document import MAX_PROBLEMS, read

FULL = """\
bind_addr: 0.0.0.0:8080
auth:
  token: ${TOKEN}
  keys: [{name: web, token: {file: web}, weight: 2}]
pools:
  - &pool {id: local, engine: llamacpp, endpoint: http://127.0.0.1:8081, max_inflight: ${N:-4}}
  - id: "far"
    engine: 'openai'
    timeouts: {connect: 800ms}
models: [{name: m, pool: local, quality: 90%, price: {input: 0.6, output: $1}}]
routes: {m: [m]}
"""
POLICIES = """\
intents:
  - name: interactive
    match: {header: {x: y}, key: [web], default: true}
    objectives: {ttft_p95: 800ms, error_rate: 1%, cost_per_minute: 2.50 USD}
    ladder: [order, {switch_model: small}, {cap_tokens: 256}, {reduce_batching: 0.7}, shed]
rules:
  - name: long
    when: request.prompt_tokens > 12000 && "${x}" == ""
    then: {params: {temperature: 0.2, stop: [on, 22:22, null, 0x10]}, reject: {retry_after: 10s}}
"""


@pytest.fixture(params=["libyaml", "python"])
def _both_parsers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """PyYAML may come without libyaml; places and verdicts are the same."""
    if request.param == "python":
        monkeypatch.setattr(yaml_nodes, "_LOADER", yaml.SafeLoader)


def problems(text: str, kind: type = Config, env: dict[str, str] | None = None) -> list[str]:
    reading = read(text, kind, file="f", env={} if env is None else env)
    assert (reading.value is None) == bool(reading.problems)
    return [str(problem) for problem in reading.problems]


def value(text: str, kind: type = Config, env: dict[str, str] | None = None) -> Any:
    reading = read(text, kind, file="f", env={} if env is None else env)
    assert reading.problems == []
    return reading.value


@pytest.mark.req("SEC-4")
@pytest.mark.usefixtures("_both_parsers")
def test_a_right_file_is_read_whole() -> None:
    config = value(FULL, env={"TOKEN": "12345"})
    assert config.auth.token == "12345"
    assert config.auth.keys[0].token == SecretFile(file="web")
    assert config.auth.keys[0].weight == 2.0
    assert config.pools[0].max_inflight == 4
    assert config.pools[1].timeouts.connect == pytest.approx(0.8)
    assert config.models[0].quality == pytest.approx(0.9)
    assert config.models[0].price.output == 1
    assert config.routes == {"m": ["m"]}


@pytest.mark.req("INT-1", "INT-2")
@pytest.mark.usefixtures("_both_parsers")
def test_policies_keep_their_text_when_no_environment_is_given() -> None:
    policies = read(POLICIES, PolicyFile, file="f").value
    assert policies is not None
    assert policies.intents[0].ladder[1:3] == [
        Rung("switch_model", "small"),
        Rung("cap_tokens", 256),
    ]
    assert policies.rules[0].when == 'request.prompt_tokens > 12000 && "${x}" == ""'
    assert policies.rules[0].then.params == {
        "temperature": 0.2,
        "stop": ["on", "22:22", None, 16],
    }


@pytest.mark.req("SEC-4")
@pytest.mark.parametrize("text", ["", "\n", "# only words\n", "---\n", "--- {}\n", "\ufeff"])
def test_an_empty_file_is_the_default(text: str) -> None:
    assert value(text) == Config()


@pytest.mark.req("SEC-4")
@pytest.mark.usefixtures("_both_parsers")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("bind_add: x", "f:1:1: unknown field 'bind_add' (did you mean 'bind_addr'?)"),
        ("auth:\n  optional: 1", "f:2:13: auth.optional: expected true or false, got a number"),
        (
            "auth: {optional: yes}",
            "f:1:18: auth.optional: expected true or false, got text (write true or false)",
        ),
        ("auth: {}\nauth: {}", "f:2:1: 'auth' is given twice (first in line 1)"),
        ("pools: [{id: a}]", "f:1:9: pools[0]: the field 'engine' is missing"),
        ("pools: {}", "f:1:8: pools: expected a list, got a mapping"),
        ("pools:", "f:1:7: pools: expected a list, got nothing"),
        ("auth: [1]", "f:1:7: auth: expected a mapping, got a list"),
        ("- 1", "f:1:1: expected a mapping, got a list"),
        ("text", "f:1:1: expected a mapping, got text"),
        ("policies: 5", "f:1:11: policies: expected text, got a number (put it in quotes)"),
        ("policies: [5]", "f:1:11: policies: expected text, got a list"),
        (
            "auth: {token: [x]}",
            "f:1:15: auth.token: expected text or a mapping, got a list",
        ),
        ("limits: {headers: 7}", "f:1:19: limits.headers: must be at least 8"),
        ("limits: {headers: 1.5}", "f:1:19: limits.headers: expected a whole number, got a number"),
        ("limits: {headers: 1e999}", "f:1:19: limits.headers: a number that is too large"),
        ("limits: {headers: .nan}", "f:1:19: limits.headers: a number that is not finite"),
        (f"limits: {{headers: {10**30}}}", "f:1:19: limits.headers: a number beyond 64 bits"),
        (
            "auth: {keys: [{name: a, token: b, weight: 0}]}",
            "f:1:43: auth.keys[0].weight: must be more than 0",
        ),
        (
            "drain_timeout: 5",
            "f:1:16: drain_timeout: expected a duration such as 800ms, 30s, 5m or 1h, got 5",
        ),
        (
            "logging: {level: loud}",
            "f:1:18: logging.level: expected one of debug, error, info, warning",
        ),
        (
            "logging: {level: inof}",
            "f:1:18: logging.level: expected one of debug, error, info, warning"
            " (did you mean 'info'?)",
        ),
        (
            "bind_addr: nowhere",
            "f:1:12: bind_addr: expected an address and port such as 127.0.0.1:8080 or [::1]:8080",
        ),
        (
            "auth: {keys: [{name: 'a\n\n', token: b}]}",
            "f:1:22: auth.keys[0].name: expected a name of up to 128 ASCII letters, digits and"
            " . _ : / @ + -",
        ),
        (
            "policies: !!python/name:os x",
            "f:1:11: tags (!...) are not supported (leave the tag out)",
        ),
        (
            "logging: {<<: {level: info}}",
            "f:1:11: merge keys (<<) are not supported (write the fields out)",
        ),
        ("? [a]\n: 1", "f:1:3: a key must be text, not a list or a mapping"),
        ("--- {}\n--- {}\n", "f:2:1: a second document; one file is one document"),
        ("a: \x01", "f:1:4: the character U+0001 may not stand in YAML"),
        ("\n- \ud800", "f:2:3: the character U+D800 may not stand in YAML"),
        ("policies: *x", "f:1:11: an alias (*) of no anchor (&) that is complete before it"),
        ("routes: &r {a: *r}", "f:1:16: an alias (*) of no anchor (&) that is complete before it"),
        ("[" * 100_000, "f:1:64: nested more than 64 deep"),
        ("x" * 1_048_577, "f:1:1: more than 1048576 characters"),
        (
            "policies: ${NOPE}",
            "f:1:11: policies: the environment variable NOPE is not set"
            " (set it, or write ${NOPE:-default})",
        ),
        (
            "policies: a${",
            "f:1:11: policies: a ${...} that is neither ${NAME} nor ${NAME:-default}"
            " (write $${ for a literal ${)",
        ),
    ],
)
def test_a_problem_is_named_at_its_place(text: str, expected: str) -> None:
    assert problems(text) == [expected]


@pytest.mark.req("SEC-4")
@pytest.mark.usefixtures("_both_parsers")
@pytest.mark.parametrize(
    ("text", "place"),
    [("a: b: c", "f:1:5"), ("a:\n\tb: 1", "f:2:1"), ("a: 'x\n", "f:2:1"), ("a: {b: 1]", "f:1:9")],
)
def test_a_syntax_error_has_line_and_column(text: str, place: str) -> None:
    (problem,) = problems(text)
    assert problem.startswith(f"{place}: this is not YAML: ")


@pytest.mark.req("SEC-4")
def test_every_problem_is_reported_in_the_order_of_the_text() -> None:
    text = "routes: []\nbind_add: 1\nauth: {optional: 2, keys: [{name: 3}]}\npools: [{ids: a}]\n"
    assert [problem.split(" ")[0] for problem in problems(text)] == [
        "f:1:9:",
        "f:2:1:",
        "f:3:18:",
        "f:3:28:",
        "f:3:35:",
        "f:4:9:",
        "f:4:9:",
        "f:4:10:",
    ]


def test_the_list_of_problems_is_bounded() -> None:
    found = problems("\n".join(f"field{n}: 1" for n in range(1000)))
    assert len(found) == MAX_PROBLEMS + 1
    assert "what follows is not listed" in found[-1]


@pytest.mark.req("SEC-5")
@pytest.mark.usefixtures("_both_parsers")
def test_aliases_expand_to_a_bounded_size() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    assert "more than 100000 values, with what aliases repeat" in problems("\n".join(lines))[0]


@pytest.mark.req("SEC-5")
@pytest.mark.usefixtures("_both_parsers")
def test_aliases_nest_to_a_bounded_depth() -> None:
    lines = ["a0: &a0 []"] + [f"a{n}: &a{n} [[[[[[*a{n - 1}]]]]]]" for n in range(1, 20)]
    assert problems("\n".join(lines))[0].endswith("nested more than 64 deep")


@pytest.mark.req("SEC-4")
@pytest.mark.usefixtures("_both_parsers")
@pytest.mark.parametrize("escape", ["\\ud800", "\\UFFFFFFFF", "\\q", "\\x"])
def test_an_escape_that_is_no_character_is_a_problem(escape: str) -> None:
    assert len(problems(f'policies: "{escape}"')) == 1


def test_aliases_repeat_what_they_name() -> None:
    config = value("routes: {a: &names [x, y], b: *names}")
    assert config.routes == {"a": ["x", "y"], "b": ["x", "y"]}


@pytest.mark.req("SEC-4")
@pytest.mark.usefixtures("_both_parsers")
@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("on", "on"),
        ("no", "no"),
        ("22:22", "22:22"),
        ("1_000", "1_000"),
        ("2020-01-01", "2020-01-01"),
        ("0b1", "0b1"),
        ("=", "="),
        ("010", 10),
        ("0o10", 8),
        ("0x1F", 31),
        ("-5", -5),
        ("1.5e3", 1500.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
        ("'5'", "5"),
        ('"true"', "true"),
        ("!!str 5", "5"),
        ("! 5", "5"),
    ],
)
def test_scalars_mean_what_yaml_1_2_says(written: str, meant: object) -> None:
    text = f"rules: [{{name: a, then: {{params: {{x: {written} }}}}}}]"
    found = value(text, PolicyFile).rules[0].then.params["x"]
    assert found == meant
    assert type(found) is type(meant)


@pytest.mark.req("SEC-4")
def test_references_work_inside_flow_style_and_are_never_yaml() -> None:
    env = {"A": "b, endpoint: http://evil", "URL": "http://h:1"}
    config = value("adapter: {engine: openai, api_key: ${A}, endpoint: ${URL}}", env=env)
    assert config.adapter.api_key == "b, endpoint: http://evil"
    assert config.adapter.endpoint == "http://h:1"
    config = value("policies: ${X:-a: [b],  # c}")
    assert config.policies == "a: [b],  # c"


@pytest.mark.req("SEC-4")
@pytest.mark.parametrize(
    ("written", "env", "meant"),
    [
        ("${A}", {"A": "x"}, "x"),
        ("p/${A}/${B:-b}", {"A": "x"}, "p/x/b"),
        ("${A:-b}", {"A": ""}, "b"),
        ("${A:-}", {}, ""),
        ("${A}", {"A": ""}, ""),
        ("${A}", {"A": "null"}, "null"),
        ("$${A}", {"A": "x"}, "${A}"),
        ("$$${A}", {"A": "x"}, "$${A}"),
        ("${A}", {"A": "${B}"}, "${B}"),
        ("$A $", {"A": "x"}, "$A $"),
    ],
)
def test_a_reference_is_replaced_once(written: str, env: dict[str, str], meant: str) -> None:
    assert value(f"policies: {written}", env=env).policies == meant
    assert value(f'policies: "{written}"', env=env).policies == meant


def test_a_replaced_text_is_a_number_where_a_number_is_wanted() -> None:
    pool = "pools: [{id: a, engine: openai, verify_tls: ${V}, max_inflight: ${N}, retries: '${N}'}]"
    assert problems(pool, env={"V": "false", "N": "3"}) == [
        "f:1:80: pools[0].retries: expected a whole number, got text"
    ]
    fine = value(pool.replace("'", ""), env={"V": "false", "N": "3"}).pools[0]
    assert (fine.verify_tls, fine.max_inflight, fine.retries) == (False, 3, 3)


@pytest.mark.req("SEC-5")
def test_what_the_environment_puts_in_is_bounded() -> None:
    text = "routes: {a: [" + ", ".join(["${A}"] * 20) + "]}"
    assert any("too large" in p for p in problems(text, env={"A": "x" * 100_000}))


def test_undecodable_bytes_of_the_environment_are_a_problem() -> None:
    (problem,) = problems("policies: ${A}", env={"A": "\udcff"})
    assert "not UTF-8" in problem


SECRET = "sk-Zx9Qw7"


@pytest.mark.req("SEC-3")
@pytest.mark.parametrize(
    "written",
    [
        f"[{SECRET}]",
        f"{{{SECRET}}}",
        f"{{{SECRET}: 1, {SECRET}: 2}}",
        f"{{file: [{SECRET}]}}",
        f"{{file: {{{SECRET}: 1}}}}",
        f"*{SECRET}",
        f"!{SECRET} x",
        f"!{SECRET}!x y",
        f"${{{SECRET}}}",
        f"${{A}}: {SECRET}",
        f"'{SECRET}",
        f'"{SECRET}\\q"',
        f"{SECRET}: b",
        f"{SECRET}\n   {SECRET}: b",
        f"@{SECRET}",
        f"%{SECRET}",
        f"&{SECRET} [*{SECRET}]",
        f"|{SECRET}",
    ],
)
@pytest.mark.usefixtures("_both_parsers")
def test_a_secret_is_not_quoted_however_it_is_mistaken(written: str) -> None:
    for text in (f"auth: {{token: {written} }}", f"auth:\n  token: {written}\n"):
        for problem in problems(text):
            assert SECRET not in problem


@pytest.mark.req("SEC-3")
@pytest.mark.parametrize(
    "text",
    [
        "drain_timeout: ${S}",
        "limits: {body: '${S}'}",
        "logging: {level: ${S}}",
        "auth: {optional: ${S}}",
        "bind_addr: ${S}",
        "pools: ${S}",
        f"auth:\n  token {SECRET}",
    ],
)
def test_a_value_from_the_environment_is_not_quoted(text: str) -> None:
    found = problems(text, env={"S": SECRET})
    assert found
    assert all(SECRET not in problem for problem in found)


@pytest.mark.req("SEC-3")
def test_a_mapping_that_a_type_reads_itself_is_quoted_unless_it_is_from_the_environment() -> None:
    text = "intents: [{name: a, ladder: [{cap_tokens: x}, {caps: '${S}'}]}]"
    first, second = problems(text, PolicyFile, env={"S": SECRET})
    assert first == "f:1:30: intents[0].ladder[0]: Expected `int`, got `str` - at `$.cap_tokens`"
    assert second == "f:1:47: intents[0].ladder[1]: expected a rung, got something else"


@pytest.mark.req("SEC-4")
def test_positions_fall_back_to_the_nearest_ancestor() -> None:
    reading = read(FULL, Config, file="f", env={"TOKEN": "x"})
    assert reading.position(("pools", 1, "timeouts", "connect")) == Position("f", 9, 25)
    assert reading.position(("pools", 1, "timeouts", "idle")) == Position("f", 9, 15)
    assert reading.position(("pools", 1)) == Position("f", 7, 5)
    assert reading.position(("limits", "body")) == Position("f", 1, 1)
    assert read("[", Config, file="f").position(("auth",)) == Position("f")


def _documents() -> Iterator[tuple[str, type]]:
    yield FULL, Config
    yield POLICIES, PolicyFile


@st.composite
def mutated(draw: st.DrawFn) -> tuple[str, type]:
    """A valid file with a few cuts, swaps and insertions."""
    text, kind = draw(st.sampled_from(list(_documents())))
    for _ in range(draw(st.integers(1, 4))):
        begin = draw(st.integers(0, len(text)))
        end = draw(st.integers(begin, min(len(text), begin + 12)))
        put = draw(
            st.text(max_size=4)
            | st.sampled_from(
                ["{", "}", "[", "]", ": ", "- ", "&a ", "*a", "!!x ", "<<: ", "${", "\n"]
            )
        )
        text = text[:begin] + put + text[end:]
    return text, kind


LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["5s", "1%", "shed", "openai", "${A}", "${B", "http://x"])
    | st.dates()
    | st.binary(max_size=4)
)
WORDS = ["id", "engine", "name", "then", "match", "ladder", "token", "connect", "when"]
KEYS = st.text(max_size=4) | st.sampled_from(
    [*Config.__struct_fields__, *PolicyFile.__struct_fields__, *WORDS]
)
STRUCTURES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=20,
)


def _never_raises(text: str, kind: type) -> None:
    for env in (None, {"A": "x"}):
        reading = read(text, kind, file="f", env=env)
        assert (reading.value is None) == bool(reading.problems)
        assert reading.problems == sorted(reading.problems)


@pytest.mark.req("SEC-4", "INT-2")
@given(text=st.text(), kind=st.sampled_from([Config, PolicyFile]))
def test_any_text_is_a_value_or_problems(text: str, kind: type) -> None:
    _never_raises(text, kind)


@pytest.mark.req("SEC-4", "INT-2")
@settings(deadline=None)
@given(document=mutated())
def test_any_damaged_file_is_a_value_or_problems(document: tuple[str, type]) -> None:
    _never_raises(*document)


@pytest.mark.req("SEC-4", "INT-2")
@settings(deadline=None)
@given(structure=STRUCTURES, kind=st.sampled_from([Config, PolicyFile]))
def test_any_structure_is_a_value_or_problems(structure: object, kind: type) -> None:
    _never_raises(yaml.safe_dump(structure, allow_unicode=True), kind)


@given(text=st.text(alphabet="${}A:-b \n'\""))
def test_hiding_references_moves_nothing_and_is_undone(text: str) -> None:
    hidden, restore = hide(text)
    assert len(hidden) == len(text)
    assert hidden.count("\n") == text.count("\n")
    assert restore(hidden) == text
