"""The JSON Schemas of `setpoint.yaml` and of policy files, for editors: generated from the Structs.

`python -m gateway.schemas` writes them into `contracts/`; a test fails when they are out of date.

A schema must accept whatever the loader accepts, or an editor would mark right lines as wrong. The
reverse cannot hold: names that must exist, or a share above 100% written as text, only the loader
sees. (`msgspec.json.schema` is not used: it fails on defaults of custom types.)
"""

import ast
import inspect as python
import json
import textwrap
from pathlib import Path
from typing import Any

import msgspec
from msgspec import inspect

import contracts
from contracts.config import Config
from contracts.policy import (
    PLAIN_RUNGS,
    CapTokens,
    PolicyFile,
    ReduceBatching,
    Rung,
    SwitchModel,
)
from contracts.quantities import Duration, Money, Period, Quantity, Share, Size

Schema = dict[str, Any]
UNITS: dict[type[Quantity], tuple[str, ...]] = {
    Duration: ("us", "ms", "s", "m", "min", "h", "d"),
    Period: ("us", "ms", "s", "m", "min", "h", "d"),
    Share: ("%",),
    Money: ("usd",),
    Size: ("b", "kb", "mb", "gb", "kib", "mib", "gib"),
}
_NUMBER = r"([0-9]+(\.[0-9]+)?|\.[0-9]+)"
_ZERO = r"(0+(\.0+)?|\.0+)"
_REFERENCE: Schema = {
    "description": "${NAME} or ${NAME:-default}, from the environment.",
    "type": "string",
    "pattern": r"\$\{",
}


def documents() -> dict[str, str]:
    """The text of each schema by its file's name. The same Structs give the same text."""
    return {
        name: _document(kind, name, title)
        for name, kind, title in (
            ("setpoint.schema.json", Config, "Setpoint configuration"),
            ("policy.schema.json", PolicyFile, "Setpoint policies"),
        )
    }


def attribute_docs(kind: type) -> dict[str, str]:
    """The text that stands below each attribute of a class, by the attribute's name."""
    (tree,) = ast.parse(textwrap.dedent(python.getsource(kind))).body
    assert isinstance(tree, ast.ClassDef)
    docs: dict[str, str] = {}
    for statement, following in zip(tree.body, tree.body[1:], strict=False):
        match statement, following:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str() as text)),
            ):
                docs[name] = " ".join(text.split())
    return docs


def _document(kind: type[msgspec.Struct], name: str, title: str) -> str:
    writer = _Writer()
    writer.define(inspect.type_info(kind))
    root = writer.definitions.pop(kind.__name__)
    schema = {
        # Draft 7 is what editors' YAML support reads best.
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$id": f"urn:setpoint:{name}",
        "title": title,
        **root,
        "definitions": dict(sorted(writer.definitions.items())),
    }
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


class _Writer:
    """Collects one definition a Struct."""

    def __init__(self) -> None:
        self.definitions: dict[str, Schema] = {"Reference": _REFERENCE}

    def define(self, kind: inspect.Type) -> Schema:
        """The schema of a type; a Struct's is a reference to its definition."""
        match kind:
            case inspect.Metadata():
                return {**self.define(kind.type), **(kind.extra_json_schema or {})}
            case inspect.UnionType():
                return self._union(kind)
            case inspect.StructType():
                return self._struct(kind)
            case inspect.ListType():
                bounds = {"minItems": kind.min_length, "maxItems": kind.max_length}
                return {"type": "array", "items": self.define(kind.item_type), **_given(bounds)}
            case inspect.DictType():
                return {"type": "object", "additionalProperties": self.define(kind.value_type)}
            case inspect.NoneType():
                return {"type": "null"}
            case inspect.AnyType():
                return {}
        return _or_reference(_leaf(kind))

    def _union(self, kind: inspect.UnionType) -> Schema:
        """One flat anyOf, "nothing" last and a reference to the environment only once."""
        members: list[Schema] = []
        for member in sorted(kind.types, key=lambda m: isinstance(m, inspect.NoneType)):
            schema = self.define(member)
            for part in schema.get("anyOf", [schema]):
                if part not in members:
                    members.append(part)
        return {"anyOf": members}

    def _struct(self, kind: inspect.StructType) -> Schema:
        name = kind.cls.__name__
        if name not in self.definitions:
            self.definitions[name] = {}  # a Struct that mentions itself finds its reference
            self.definitions[name] = self._rung() if kind.cls is Rung else self._members(kind)
        return {"$ref": f"#/definitions/{name}"}

    def _rung(self) -> Schema:
        shapes = [inspect.type_info(kind) for kind in (SwitchModel, CapTokens, ReduceBatching)]
        self.definitions["PlainRung"] = self._plain_rung()
        plain = [{"enum": list(PLAIN_RUNGS)}, {"$ref": "#/definitions/PlainRung"}]
        return {
            "description": _described(Rung),
            **_or_reference({"anyOf": [*plain, *map(self.define, shapes)]}),
        }

    def _plain_rung(self) -> Schema:
        """A plain rung as a mapping: its one name, and whether it is a dry run."""
        named: Schema = {name: _or_reference({"const": True}) for name in PLAIN_RUNGS}
        return {
            "type": "object",
            "properties": {**named, "dry_run": self.define(inspect.BoolType())},
            "oneOf": [{"required": [name]} for name in PLAIN_RUNGS],
            "additionalProperties": False,
        }

    def _members(self, kind: inspect.StructType) -> Schema:
        docs = attribute_docs(kind.cls)
        properties: dict[str, Schema] = {}
        for field in kind.fields:
            schema = dict(self.define(field.type))
            if field.name in docs:
                schema["description"] = docs[field.name]
            default = _spelled(field.default)
            if default is not None:
                schema["default"] = default
            properties[field.encode_name] = schema
        schema = {"type": "object", "properties": properties}
        description = _described(kind.cls)
        if description:
            schema = {"description": description, **schema}
        required = [field.encode_name for field in kind.fields if field.required]
        if required:
            schema["required"] = required
        return {**schema, "additionalProperties": not kind.forbid_unknown_fields}


def _or_reference(leaf: Schema) -> Schema:
    """Where more than any text is wanted, `${NAME}` is right too."""
    if leaf == {"type": "string"}:
        return leaf
    return {"anyOf": [*leaf.get("anyOf", [leaf]), {"$ref": "#/definitions/Reference"}]}


def _leaf(kind: inspect.Type) -> Schema:
    match kind:
        case inspect.BoolType():
            return {"type": "boolean"}
        case inspect.LiteralType():
            return {"enum": list(kind.values)}
        case inspect.StrType():
            named = {
                "pattern": kind.pattern,
                "minLength": kind.min_length,
                "maxLength": kind.max_length,
            }
            return {"type": "string", **_given(named)}
        case inspect.IntType() | inspect.FloatType():
            bounds = {
                "exclusiveMinimum": kind.gt,
                "minimum": kind.ge,
                "exclusiveMaximum": kind.lt,
                "maximum": kind.le,
            }
            name = "integer" if isinstance(kind, inspect.IntType) else "number"
            return {"type": name, **_given(bounds)}
        case inspect.CustomType() if kind.cls in UNITS:
            return _quantity(kind.cls)
    raise TypeError(f"no schema is known for {kind}")


def _given(named: dict[str, Any]) -> Schema:
    return {name: value for name, value in named.items() if value is not None}


def _quantity(kind: type[Quantity]) -> Schema:
    """A number with a unit as text, and a bare number where `Quantity.parse` takes one."""
    units = "|".join(
        "".join(f"[{c}{c.upper()}]" if c.isalpha() else c for c in unit) for unit in UNITS[kind]
    )
    bare = not issubclass(kind, Duration)
    spellings = [f"{_NUMBER} *({units})", _NUMBER if bare else _ZERO]
    if kind is Money:
        spellings.append(rf"\$ *{_NUMBER}")
    if kind is Period:
        spellings.append("[dD][aA][yY]")
    text = {"type": "string", "pattern": f"^ *({'|'.join(spellings)}) *$"}
    number: Schema = {"type": "number", "minimum": 0} if bare else {"const": 0}
    if kind is Share:
        number["maximum"] = 1
    return {
        "description": f"{kind.spelling[0].upper()}{kind.spelling[1:]}.",
        "anyOf": [text, number],
    }


def _described(kind: type) -> str:
    return " ".join((kind.__doc__ or "").split())


def _spelled(default: object) -> str | int | float | bool | None:
    """A default as an operator would write it; None where it is better left out."""
    match default:
        case Duration():
            for unit, length_s, least_s in (
                ("d", 86_400, 172_800),
                ("h", 3600, 3600),
                ("m", 60, 1800),
            ):
                if default >= least_s and default % length_s == 0:
                    return f"{default / length_s:g}{unit}"
            return f"{default:g}s"
        case Size():
            for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
                if default % size == 0:
                    return f"{default / size:g}{unit}"
            return int(default)
        case str() | int() | float():
            return default
    return None


def main() -> None:
    """Write both files beside the Structs they come from."""
    folder = Path(contracts.__file__).parent
    for name, text in documents().items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
