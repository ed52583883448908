"""A YAML text and a Struct type to a value, or to every problem with its place.

Text in, values out. The tree is walked beside `msgspec.inspect`'s description of the type, so that
one pass finds all defects and each knows its line and column; `msgspec.convert` then builds the
value and has the last word on anything the walk does not know.

Must stay true: `read` never raises, whatever the text; and no message quotes a value that may be a
secret: one that came from the environment, or anything inside a field of type `Secret`.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import inspect

from contracts import interpolation, yaml_nodes
from contracts.config import SecretFile
from contracts.problems import Path, Position, Problem, did_you_mean, spell_path
from contracts.yaml_nodes import Node, Scalar, Sequence, plain_value

T = TypeVar("T")
MAX_PROBLEMS = 200
_NAME = re.compile(r"[A-Za-z0-9_-]{1,32}")
"""Keys that are quoted. A longer one, or one with blanks, may be a value whose key got lost."""


class Reading(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """What a text says. `value` is None if and only if there are problems."""

    value: T | None
    problems: list[Problem]
    """All of them, in the order of the text."""
    file: str
    positions: dict[Path, Position]
    tree: Any = None
    """The text as builtins and parsed values, None where something is wrong (`contracts.salvage`)."""
    damaged: frozenset[Path] = frozenset()
    """The paths of what is wrong, unknown, missing, or given twice."""

    def intact(self, path: Path) -> bool:
        """Whether nothing is wrong with the value at `path`, above it or within it."""
        return not any(
            all(mine == theirs for mine, theirs in zip(path, other, strict=False))
            for other in self.damaged
        )

    def position(self, path: Path) -> Position:
        """Where the value at `path` begins; for one that is not there, its nearest ancestor."""
        for length in range(len(path), -1, -1):
            found = self.positions.get(path[:length])
            if found is not None:
                return found
        return Position(self.file)


def read(
    text: str, kind: type[T], *, file: str, env: Mapping[str, str] | None = None
) -> Reading[T]:
    """Read `text` as a `kind`, a Struct. An empty text is a `kind` with all its defaults.

    With `env`, `${NAME}` and `${NAME:-default}` in values are replaced (`contracts.interpolation`);
    without it they are ordinary text. Custom types are read by their classmethod `parse(raw)`,
    which raises ValueError. Never raises.
    """
    restore: Callable[[str], str] = str
    if env is not None and len(text) <= yaml_nodes.MAX_CHARS:
        text, restore = interpolation.hide(text)
    composed = yaml_nodes.compose(text, file=file, restore=restore)
    walk = _Walk(list(composed.problems), env)
    value: T | None = None
    tree: Any = None
    if composed.root is not None or not composed.problems:
        root = composed.root
        if root is None or (isinstance(root, Scalar) and root.plain and root.text == ""):
            root = yaml_nodes.Mapping(Position(file), (), 1, 1)
        try:
            tree = walk.value(root, inspect.type_info(kind), ())
            if not walk.problems:
                value = msgspec.convert(tree, kind, dec_hook=_parsed_already)
        except _TooManyError:
            walk.damaged.add(())
        except msgspec.ValidationError as exc:
            walk.problems.append(Problem(position=root.position, message=str(exc)))
            walk.damaged.add(())
    return Reading(
        value=value,
        problems=sorted(walk.problems),
        file=file,
        positions=walk.positions,
        tree=tree,
        damaged=frozenset(walk.damaged),
    )


def _parsed_already(kind: type, value: object) -> object:
    if isinstance(value, kind):
        return value
    raise ValueError(f"expected {kind.__name__}")


class _TooManyError(Exception):
    """More problems than anyone reads."""


class _Walk:
    """One pass over the tree. A part that is wrong is noted and read as None; the walk goes on."""

    def __init__(self, problems: list[Problem], env: Mapping[str, str] | None) -> None:
        self.problems = problems
        # What the composer left out (a merge key, say) may have been anywhere.
        self.damaged: set[Path] = {()} if problems else set()
        self.positions: dict[Path, Position] = {}
        self._env = env
        self._replaced = 0
        self._expanded_chars = 0

    def value(self, node: Node, kind: inspect.Type, path: Path, *, secret: bool = False) -> Any:
        """`node` as builtins, and as parsed values where a custom type is wanted."""
        self.positions[path] = node.position
        wanted = members(kind)
        secret = secret or any(_class_of(member) is SecretFile for member in wanted)
        if isinstance(node, Scalar):
            return self._scalar(node, wanted, path, _description(kind), secret=secret)
        for member in wanted:
            if _parser_of(member) is not None:
                known, replaced = len(self.problems), self._replaced
                raw = self._any(node, path, secret=secret)
                if len(self.problems) > known:
                    return None
                foreign = secret or self._replaced > replaced
                return self._parse(node, member, raw, path, foreign=foreign)
        for member in wanted:
            match node, member:
                case Sequence(), inspect.ListType():
                    return self._list(node, member, path, secret=secret)
                case yaml_nodes.Mapping(), inspect.StructType():
                    return self._struct(node, member, path, secret=secret)
                case yaml_nodes.Mapping(), inspect.DictType():
                    return self._dict(node, member, path, secret=secret)
                case _, inspect.AnyType():
                    return self._any(node, path, secret=secret)
        return self._mismatch(
            node, wanted, "a list" if isinstance(node, Sequence) else "a mapping", path
        )

    def _list(self, node: Sequence, kind: inspect.ListType, path: Path, *, secret: bool) -> Any:
        self._check_length(node, len(node.items), "entries", kind, path)
        return [
            self.value(item, kind.item_type, (*path, index), secret=secret)
            for index, item in enumerate(node.items)
        ]

    def _dict(
        self, node: yaml_nodes.Mapping, kind: inspect.DictType, path: Path, *, secret: bool
    ) -> Any:
        self._check_length(node, len(node.pairs), "entries", kind, path)
        return {
            key.text: self.value(child, kind.value_type, (*path, key.text), secret=secret)
            for key, child in self._unique_pairs(node, path, secret=secret)
        }

    def _struct(
        self, node: yaml_nodes.Mapping, kind: inspect.StructType, path: Path, *, secret: bool
    ) -> Any:
        fields = {field.encode_name: field for field in kind.fields}
        found: dict[str, Any] = {}
        for key, child in self._unique_pairs(node, path, secret=secret):
            field = fields.get(key.text)
            if field is not None:
                found[key.text] = self.value(child, field.type, (*path, key.text), secret=secret)
            elif kind.forbid_unknown_fields:
                shown = f" {key.text!r}" if not secret and _NAME.fullmatch(key.text) else ""
                hint = did_you_mean(key.text, fields)
                self._note(key, path, f"unknown field{shown}", hint, at=(*path, key.text))
        for name, field in fields.items():
            if field.required and name not in found:
                self._note(node, path, f"the field {name!r} is missing", at=(*path, name))
        return found

    def _unique_pairs(
        self, node: yaml_nodes.Mapping, path: Path, *, secret: bool
    ) -> list[tuple[Scalar, Node]]:
        first: dict[str, Scalar] = {}
        pairs: list[tuple[Scalar, Node]] = []
        for key, child in node.pairs:
            if key.text in first:
                shown = repr(key.text) if not secret and _NAME.fullmatch(key.text) else "this key"
                line = first[key.text].position.line
                hint = f"first in line {line}"
                self._note(key, path, f"{shown} is given twice", hint, at=(*path, key.text))
            else:
                first[key.text] = key
                pairs.append((key, child))
        return pairs

    def _any(self, node: Node, path: Path, *, secret: bool) -> Any:
        """The plain value of a node whose type says nothing."""
        self.positions[path] = node.position
        match node:
            case Scalar():
                return self._scalar(node, (inspect.AnyType(),), path, "", secret=secret)
            case Sequence():
                return [
                    self._any(item, (*path, index), secret=secret)
                    for index, item in enumerate(node.items)
                ]
            case yaml_nodes.Mapping():
                return {
                    key.text: self._any(child, (*path, key.text), secret=secret)
                    for key, child in self._unique_pairs(node, path, secret=secret)
                }

    def _scalar(
        self,
        node: Scalar,
        members: tuple[inspect.Type, ...],
        path: Path,
        described: str,
        *,
        secret: bool,
    ) -> Any:
        expansion = self._expand(node, path)
        if expansion is None:
            return None
        text, foreign = expansion.text, expansion.replaced
        wants_text = any(isinstance(member, inspect.StrType) for member in members)
        if not node.plain or (foreign and wants_text):
            # A token from the environment is text even where it looks like a number.
            typed: str | int | float | bool | None = text
        else:
            try:
                typed = plain_value(text)
            except ValueError as exc:
                self._note(node, path, str(exc), "put it in quotes" if wants_text else "")
                return None
        if typed is None and any(
            isinstance(m, inspect.NoneType | inspect.AnyType) for m in members
        ):
            return None
        for member in members:
            if _parser_of(member) is not None:
                return self._parse(node, member, typed, path, foreign=foreign or secret)
            match member, typed:
                case inspect.AnyType(), _:
                    return typed
                case inspect.LiteralType(), str() | int() | None:
                    return self._literal(node, member, typed, path)
                case (inspect.BoolType(), bool()):
                    return typed
                case (inspect.IntType() | inspect.FloatType() | inspect.StrType(), bool()):
                    continue
                case inspect.StrType(), str():
                    return self._text(node, typed, member, path, described)
                case inspect.IntType(), int():
                    return self._number(node, typed, member, path)
                case inspect.IntType(), float() if typed.is_integer():
                    return self._number(node, int(typed), member, path)
                case inspect.FloatType(), int() | float():
                    return self._number(node, float(typed), member, path)
        hint = ""
        if wants_text and not isinstance(typed, str) and typed is not None:
            hint = "put it in quotes"
        elif text.lower() in ("yes", "no", "on", "off") and any(
            isinstance(member, inspect.BoolType) for member in members
        ):
            hint = "write true or false"
        return self._mismatch(node, members, _kind_of(typed), path, hint)

    def _expand(self, node: Scalar, path: Path) -> interpolation.Expansion | None:
        if self._env is None:
            return interpolation.Expansion(text=node.text)
        expansion = interpolation.expand(node.text, self._env)
        for message, hint in expansion.faults:
            self._note(node, path, message, hint)
        if expansion.replaced:
            self._replaced += 1
            self._expanded_chars += len(expansion.text)
            if self._expanded_chars > yaml_nodes.MAX_CHARS:
                self._note(node, path, "what the environment puts in is too large")
                return None
            if any("\ud800" <= character <= "\udfff" for character in expansion.text):
                self._note(node, path, "what the environment puts in is not UTF-8")
                return None
        return None if expansion.faults else expansion

    def _parse(
        self, node: Node, member: inspect.Type, raw: Any, path: Path, *, foreign: bool
    ) -> Any:
        parse = _parser_of(member)
        assert parse is not None
        try:
            return parse(raw)
        except ValueError as exc:
            if foreign:  # its message may quote the value
                return self._mismatch(node, (member,), "something else", path)
            return self._note(node, path, str(exc))

    def _literal(self, node: Scalar, kind: inspect.LiteralType, typed: object, path: Path) -> Any:
        for value in kind.values:
            if value == typed and type(value) is type(typed):
                return value
        known = [str(value) for value in kind.values]
        near = did_you_mean(str(typed), known)
        hint = near if near.startswith("did") else ""
        self._note(node, path, f"expected one of {', '.join(known)}", hint)
        return None

    def _number(
        self,
        node: Scalar,
        number: float,
        kind: inspect.IntType | inspect.FloatType,
        path: Path,
    ) -> Any:
        bounds = (
            (kind.gt is None or number > kind.gt, "more than", kind.gt),
            (kind.ge is None or number >= kind.ge, "at least", kind.ge),
            (kind.lt is None or number < kind.lt, "less than", kind.lt),
            (kind.le is None or number <= kind.le, "at most", kind.le),
            (
                kind.multiple_of is None or number % kind.multiple_of == 0,
                "a multiple of",
                kind.multiple_of,
            ),
        )
        for kept, words, bound in bounds:
            if not kept:
                self._note(node, path, f"must be {words} {bound}")
                return None
        return number

    def _text(
        self, node: Scalar, text: str, kind: inspect.StrType, path: Path, described: str
    ) -> Any:
        self._check_length(node, len(text), "characters", kind, path)
        # `$` would let a line break through at the end; in JSON Schema it does not.
        if kind.pattern is not None and not re.search(re.sub(r"\$$", r"\\Z", kind.pattern), text):
            self._note(node, path, f"expected {described or f'text that matches {kind.pattern}'}")
            return None
        return text

    def _check_length(
        self,
        node: Node,
        length: int,
        things: str,
        kind: inspect.StrType | inspect.ListType | inspect.DictType,
        path: Path,
    ) -> None:
        if kind.min_length is not None and length < kind.min_length:
            self._note(node, path, f"must have at least {kind.min_length} {things}")
        if kind.max_length is not None and length > kind.max_length:
            self._note(node, path, f"must have at most {kind.max_length} {things}")

    def _mismatch(
        self, node: Node, members: tuple[inspect.Type, ...], got: str, path: Path, hint: str = ""
    ) -> None:
        wanted = " or ".join(dict.fromkeys(filter(None, map(_spelling, members))))
        self._note(node, path, f"expected {wanted}, got {got}", hint)

    def _note(
        self, node: Node, path: Path, message: str, hint: str = "", *, at: Path | None = None
    ) -> None:
        """`at` is what is damaged, where that is not the value at `path` itself."""
        self.damaged.add(path if at is None else at)
        if len(self.problems) >= MAX_PROBLEMS:
            message = f"more than {MAX_PROBLEMS} problems; what follows is not listed"
            self.problems.append(Problem(position=node.position, message=message))
            raise _TooManyError
        self.problems.append(
            Problem(position=node.position, path=spell_path(path), message=message, hint=hint)
        )


def members(kind: inspect.Type) -> tuple[inspect.Type, ...]:
    """What a value of this type may be: the parts of a union, without their annotations."""
    found: list[inspect.Type] = []
    for member in kind.types if isinstance(kind, inspect.UnionType) else (kind,):
        bare = member.type if isinstance(member, inspect.Metadata) else member
        found.extend(bare.types if isinstance(bare, inspect.UnionType) else (bare,))
    return tuple(found)


def _description(kind: inspect.Type) -> str:
    """How the author of the type described it; the last word where several did."""
    described = ""
    for member in kind.types if isinstance(kind, inspect.UnionType) else (kind,):
        if isinstance(member, inspect.Metadata):
            described = (member.extra_json_schema or {}).get("description", "")
    return described


def _class_of(kind: inspect.Type) -> type | None:
    return kind.cls if isinstance(kind, inspect.StructType | inspect.CustomType) else None


def _parser_of(kind: inspect.Type) -> Callable[[object], object] | None:
    parse: Callable[[object], object] | None = getattr(_class_of(kind), "parse", None)
    return parse


def _spelling(kind: inspect.Type) -> str:
    """What a type is called in a message; "" for one that need not be named."""
    if _parser_of(kind) is not None:
        custom = _class_of(kind)
        return str(getattr(custom, "spelling", f"a {getattr(custom, '__name__', '').lower()}"))
    match kind:
        case inspect.StrType():
            return "text"
        case inspect.IntType():
            return "a whole number"
        case inspect.FloatType():
            return "a number"
        case inspect.BoolType():
            return "true or false"
        case inspect.ListType():
            return "a list"
        case inspect.DictType() | inspect.StructType():
            return "a mapping"
        case inspect.LiteralType():
            return "one of " + ", ".join(map(str, kind.values))
    return ""


def _kind_of(value: object) -> str:
    if value is None:
        return "nothing"
    return {bool: "true or false", str: "text"}.get(type(value), "a number")
