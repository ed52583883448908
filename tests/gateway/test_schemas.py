"""The published schemas: up to date, and of one mind with the loader."""

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

import contracts
from contracts.config import Auth, Config, Pool
from contracts.policy import PolicyFile
from contracts.quantities import Quantity
from contracts.yaml_document import read
from gateway import schemas

FOLDER = Path(contracts.__file__).parent
ROOT = FOLDER.parent
KINDS: dict[str, type] = {"setpoint.schema.json": Config, "policy.schema.json": PolicyFile}


def validator(name: str) -> Any:
    schema = json.loads(schemas.documents()[name])
    jsonschema.Draft7Validator.check_schema(schema)
    return jsonschema.Draft7Validator(schema)


@pytest.mark.req("OPS-3")
@pytest.mark.parametrize("name", KINDS)
def test_the_published_schema_is_the_generated_one(name: str) -> None:
    published = (FOLDER / name).read_text(encoding="utf-8")
    assert published == schemas.documents()[name], "run python -m gateway.schemas"


@pytest.mark.req("OPS-3")
def test_the_command_writes_both_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contracts, "__file__", str(tmp_path / "__init__.py"))
    schemas.main()
    written = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()}
    assert written == schemas.documents()


@pytest.mark.req("OPS-3")
def test_the_example_is_valid() -> None:
    text = (ROOT / "deploy" / "setpoint.example.yaml").read_text(encoding="utf-8")
    assert text.startswith("# yaml-language-server: $schema=../contracts/setpoint.schema.json\n")
    # What an editor's YAML parser cannot read unquoted, Setpoint reads: references in flow style.
    quoted = re.sub(r"\$\{SECRETS_DIR:-([^}]*)\}", r"\1", text)
    validator("setpoint.schema.json").validate(yaml.safe_load(quoted))


POOL = "pools: [{id: a, engine: openai, %s}]"
INTENT = "intents: [{name: a, %s}]"
DOCUMENTS: list[tuple[type, str, bool]] = [
    (Config, "{}", True),
    (Config, "bind_addr: '[::1]:80'", True),
    (Config, "bind_addr: 127.0.0.1", False),
    (Config, "bind_adr: 127.0.0.1:80", False),
    (Config, "bind_addr: '${ADDR:-127.0.0.1:80}'", True),
    (Config, "auth: {token: abc}", True),
    (Config, "auth: {token: {file: abc}}", True),
    (Config, "auth: {token: {fil: abc}}", False),
    (Config, "auth: {token: null}", True),
    (Config, "auth: {token: 5}", False),
    (Config, "auth: {optional: 1}", False),
    (Config, "auth: {optional: '${X:-true}'}", False),  # quoted: text, which the schema cannot see
    (Config, "auth: {optional: ${X:-true}}", True),
    (Config, "auth: null", False),
    (Config, "auth: {default_budget: [{requests: 5, per: 1m}, {cost: 5 USD, per: day}]}", True),
    (Config, "auth: {default_budget: [{tokens: 5, per: week}]}", False),
    (Config, "auth: {default_budget: [{tokens: 0, per: day}]}", False),
    (Config, "auth: {default_budget: [{tokens: 5}]}", False),
    (Config, f"auth: {{default_budget: [{'{tokens: 5, per: 1m}, ' * 9}]}}", False),
    (Config, "auth: {keys: [{name: a, token: b, budget: []}]}", True),
    (Config, "adapter: null", True),
    (Config, "adapter: {engine: of-a-plug-in}", True),
    (Config, "adapter: {engine: Llama 3}", False),
    (Config, "adapter: {}", False),
    (Config, POOL % "max_inflight: 4", True),
    (Config, POOL % "max_inflight: 4.0", True),
    (Config, POOL % "max_inflight: 4.5", False),
    (Config, POOL % "max_inflight: 0", False),
    (Config, POOL % "max_inflight: ${N:-4}", True),
    (Config, POOL % "timeouts: {connect: 5s}", True),
    (Config, POOL % "timeouts: {connect: 5}", False),
    (Config, POOL % "timeouts: {connect: 0}", True),
    (Config, POOL % "endpoints: [x]", False),
    (Config, POOL % "endpoint: http://x", True),
    (Config, POOL % "metrics: http://epp:9090/metrics", True),
    (Config, POOL % "metrics: epp:9090", False),
    (Config, POOL % "priority_scheduling: true, inference_ttl: false", True),
    (Config, POOL % "priority_scheduling: 1", False),
    (Config, POOL % "simulate: {replicas: 2, time_factor_under_load: 2}", True),
    (Config, POOL % "simulate: {replicas: 0}", False),
    (Config, POOL % "simulate: {time_factor_under_load: 0.5}", False),
    (Config, POOL % "simulate: {inter_token_latency: 15ms, prefill_overhead: 0}", True),
    (Config, POOL % "simulate: {inter_token_latency: 15}", False),
    (Config, POOL % "simulate: {max_num_seq: 5}", False),
    (Config, "models: [{name: a, pool: b, simulate: {max_num_seqs: 5, kv_tokens: 9}}]", True),
    (Config, "models: [{name: a, pool: b, simulate: null}]", True),
    (Config, "logging: {decisions: decisions.jsonl}", True),
    (Config, "logging: {decisions: 5}", False),
    (Config, "limits: {body: 1MiB}", True),
    (Config, "limits: {body: 1 mib}", True),
    (Config, "limits: {body: 1TiB}", False),
    (Config, "limits: {body: -1}", False),
    (Config, "models: [{name: a, pool: b, price: {input: $1, output: 2 USD}}]", True),
    (Config, "models: [{name: a, pool: b, price: {input: 1}}]", False),
    (Config, "models: [{name: a, pool: b, quality: 1.5}]", False),
    (Config, "routes: {a: [b]}", True),
    (Config, "routes: {a: b}", False),
    (Config, "routes: {a: {targets: [b], resume: replay, hedge: {after: 2s, budget: 5%}}}", True),
    (Config, "routes: {a: {targets: [b], resume: 5}}", False),
    (Config, "routes: {a: {target: [b]}}", False),
    (Config, "routes: {a: {targets: [b], hedge: {budget: 5%}}}", False),
    (Config, POOL % "retry_budget: 20%, breaker: {failures: 5, window: 30s, cooldown: 5s}", True),
    (Config, POOL % "breaker: {failures: 0}", False),
    (Config, POOL % "timeouts: {min_tokens_per_s: 0.5}", True),
    (Config, POOL % "timeouts: {min_tokens_per_s: 0}", False),
    (Config, "models: [{name: a, pool: b, prefill: true}]", True),
    (
        Config,
        "models: [{name: a, pool: b, price: {input: 1, output: 2, cached_input: $0.1}}]",
        True,
    ),
    (Config, "streams: {reasoning_field: thoughts}", False),
    (Config, "[]", False),
    (PolicyFile, "{}", True),
    (PolicyFile, INTENT % "priority: 1000", True),
    (PolicyFile, INTENT % "priority: 1001", False),
    (PolicyFile, INTENT % "ladder: [shed, {cap_tokens: 5}, {reduce_batching: 0.5}]", True),
    (PolicyFile, INTENT % "ladder: [shedd]", False),
    (PolicyFile, INTENT % "ladder: [${X:-shed}]", True),
    (PolicyFile, INTENT % "ladder: [{cap_tokens: 0}]", False),
    (PolicyFile, INTENT % "ladder: [{cap_tokens: 1, switch_model: a}]", False),
    (PolicyFile, INTENT % "ladder: [{shed: true}, {shed: true, dry_run: false}]", True),
    (PolicyFile, INTENT % "ladder: [{cap_tokens: 5, dry_run: true}]", True),
    (PolicyFile, INTENT % "ladder: [{shed: true, dry_run: ${TRY:-true}}]", True),
    (PolicyFile, INTENT % "ladder: [{shed: ${TRY:-true}}]", True),
    (PolicyFile, INTENT % "ladder: [{shed: false}]", False),
    (PolicyFile, INTENT % "ladder: [{shed: true, refuse: true}]", False),
    (PolicyFile, INTENT % "ladder: [{dry_run: true}]", False),
    (PolicyFile, INTENT % "ladder: [{shed: true, dry_run: 1}]", False),
    (PolicyFile, INTENT % "ladder: [{cap_tokens: 5, dry_run: 1}]", False),
    (PolicyFile, INTENT % "dry_run: true", True),
    (PolicyFile, INTENT % "dry_run: 1", False),
    (PolicyFile, INTENT % "match: {header: {a: b}, default: true}", True),
    (PolicyFile, INTENT % "match: {header: {a: 5}}", False),
    (PolicyFile, INTENT % "window: ${W:-5s}", True),
    (PolicyFile, "rules: [{name: a, then: {params: {x: [1, {y: null}]}}}]", True),
    (PolicyFile, "rules: [{name: a}]", False),
    (PolicyFile, "rules: [{name: '', then: {}}]", False),
    (PolicyFile, "rules: [{name: a, then: {reject: {status: 503}}}]", True),
    (PolicyFile, "rules: [{name: a, then: {reject: {status: 500}}}]", False),
]
ONLY_THE_LOADER_SEES = {"auth: {optional: '${X:-true}'}"}


@pytest.mark.req("OPS-3", "SEC-4")
@pytest.mark.parametrize(("kind", "text", "good"), DOCUMENTS)
def test_schema_and_loader_agree(kind: type, text: str, good: bool) -> None:
    reading = read(text, kind, file="f", env={})
    assert (reading.problems == []) is good
    name = next(name for name, known in KINDS.items() if known is kind)
    # The document as an editor sees it: references are still there, as text.
    plain = re.sub(r"(?<!')(\$\{[^}]*\})(?!')", r"'\1'", text)
    document = yaml.safe_load(plain)
    assert validator(name).is_valid(document) is (good or text in ONLY_THE_LOADER_SEES)


@pytest.mark.req("OPS-3")
@pytest.mark.parametrize("kind", schemas.UNITS)
def test_every_spelling_of_a_quantity_that_loads_is_in_the_schema(kind: type[Quantity]) -> None:
    checker = jsonschema.Draft7Validator(schemas._quantity(kind))
    number = st.sampled_from(["0", "1", "0.5", ".5", "5.", "1e3", "-1", "007", ""])
    unit = st.sampled_from([*sum(schemas.UNITS.values(), ()), "$", "parsec", "", "MS", "GiB"])

    @given(
        raw=st.builds(
            "{}{}{}{}".format, st.sampled_from(["", "$", " "]), number, st.just(" "), unit
        )
        | st.builds("{}{}".format, number, unit)
        | st.integers(-2, 5)
        | st.sampled_from([0.5, 1.5, None, True])
    )
    def agree(raw: object) -> None:
        try:
            kind.parse(raw)
            fault = ""
        except ValueError as exc:
            fault = str(exc)
        # A share above 100%, written as text, is more than a pattern can tell.
        assert checker.is_valid(raw) == (not fault or ("100%" in fault and isinstance(raw, str)))

    agree()


@pytest.mark.req("OPS-3")
def test_descriptions_and_defaults_come_from_the_structs() -> None:
    assert schemas.attribute_docs(Auth)["optional"] == (
        "Callers on loopback may come without a token."
    )
    schema = json.loads(schemas.documents()["setpoint.schema.json"])
    limits = schema["definitions"]["Limits"]["properties"]
    assert limits["body"]["default"] == "32MiB"
    assert limits["header_timeout"]["default"] == "10s"
    assert schema["definitions"]["Pool"]["properties"]["verify_tls"]["default"] is True
    assert schema["definitions"]["Pool"]["required"] == ["id", "engine"]


def _structs(kind: Any, found: dict[str, Any]) -> dict[str, Any]:
    match kind:
        case msgspec.inspect.StructType():
            if kind.cls.__name__ not in found:
                found[kind.cls.__name__] = kind
                for field in kind.fields:
                    _structs(field.type, found)
        case msgspec.inspect.ListType():
            _structs(kind.item_type, found)
        case msgspec.inspect.UnionType():
            for member in kind.types:
                _structs(member, found)
    return found


@pytest.mark.req("OPS-3")
def test_the_documentation_has_every_setting_in_the_table_of_its_struct() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^##+ (.+?)\n(.*?)(?=^##|\Z)", text, re.MULTILINE | re.DOTALL))
    titles = {"Config": "The whole file", "TimeoutSettings": "TimeoutSettings"}
    found = _structs(msgspec.inspect.type_info(Config), {})
    assert Pool.__name__ in found
    for name, kind in found.items():
        rows = re.findall(r"^\| `(\w+)` \|", sections[titles.get(name, name)], re.MULTILINE)
        assert rows == [field.encode_name for field in kind.fields], name
        for field in kind.fields:
            default = schemas._spelled(field.default)
            row = re.search(rf"^\| `{field.name}` \|.*$", sections[titles.get(name, name)], re.M)
            if default is not None and field.name != "total":  # 1800s, written as 30m
                shown = str(default).lower() if isinstance(default, bool) else str(default)
                assert row
                assert f"`{shown}`" in row[0], (name, field.name)
