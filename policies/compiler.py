"""Policy files, read, to one `PolicySet`: every name checked, every condition compiled.

What must stay true: a set that compiles never meets an unknown intent, key or pool at run time,
nor, in a closed catalogue, an unknown model; and a refusal lists *every* problem with its place,
those of the parts that can be read beside those of the parts that cannot.
Nothing is read from disk here, and nothing is decided about a request.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from contracts.catalog import Catalog
from contracts.policy import Intent, PolicyFile, Rule, repeated_rungs
from contracts.problems import (
    Path,
    Position,
    Problem,
    ProblemsFound,
    did_you_mean,
    spell_path,
)
from contracts.salvage import salvage
from contracts.yaml_document import Reading
from policies.conditions import Condition, InvalidCondition, compile_condition
from policies.params import encode_param
from policies.places import within_scalar
from policies.policy_set import CompiledRule, PolicySet
from policies.references import Reference

CONFIG_FILE = "setpoint.yaml"


def compile_policies(
    readings: Sequence[Reading[PolicyFile]],
    catalog: Catalog,
    texts: Mapping[str, str] | None = None,
) -> PolicySet:
    """Compile files, in the order of their names, against what exists.

    `texts` are the files' own texts by name: with them a mistake inside a condition is placed
    exactly, without them at the condition's beginning. Raises ProblemsFound.
    """
    compiler = _Compiler(catalog, texts or {})
    for reading in readings:
        compiler.problems.extend(reading.problems)
    files = [
        (reading, file)
        for reading in readings
        if (file := salvage(reading, PolicyFile)) is not None
    ]
    for reading, file in files:
        compiler.declare_intents(reading, file)
    # An intent may be in what could not be read: then no complaint about its name.
    compiler.intents_known = len(files) == len(readings) and all(
        _has_all_intents(reading, file) for reading, file in files
    )
    compiler.check_configuration()
    for reading, file in files:
        compiler.check_intents(reading, file)
        compiler.add_rules(reading, file)
    if compiler.problems:
        raise ProblemsFound(compiler.problems)
    return compiler.build([file for _, file in files])


def _has_all_intents(reading: Reading[PolicyFile], file: PolicyFile) -> bool:
    """Whether no mistake of the file can have hidden an intent's name."""
    return all(len(path) > 1 for path in reading.damaged) and all(
        reading.intact(("intents", index, "name")) for index in range(len(file.intents))
    )


class _Compiler:
    """Looks at whatever could be read; where the text is damaged, its silence proves nothing."""

    def __init__(self, catalog: Catalog, texts: Mapping[str, str]) -> None:
        self.problems: list[Problem] = []
        self.intents_known = True
        self._catalog = catalog
        self._texts = texts
        self._intents: dict[str, Intent] = {}
        self._rules: list[CompiledRule] = []
        self._by_header: dict[str, dict[str, str]] = {}
        self._by_key: dict[str, str] = {}
        self._by_model: dict[str, str] = {}
        self._default: str | None = None
        self._for_tasks: str | None = None
        self._places: dict[tuple[str, ...], Position] = {}

    # -- intents ------------------------------------------------------------------------

    def declare_intents(self, reading: Reading[PolicyFile], file: PolicyFile) -> None:
        """Take in every intent, so that files may name each other's, and what selects it."""
        for index, intent in enumerate(file.intents):
            path: Path = ("intents", index)
            if not self._first(reading, (*path, "name"), "intent", intent.name):
                continue
            self._intents[intent.name] = _in_force(intent, file)
            match = (*path, "match")
            for header, value in intent.match.header.items():
                place = (*match, "header", header)
                if self._first(reading, place, "header", f"{header.lower()}: {value}"):
                    self._by_header.setdefault(header.lower(), {})[value] = intent.name
            if intent.match.task and self._first(reading, (*match, "task"), "intent for tasks", ""):
                self._for_tasks = intent.name
            for nth, key in enumerate(intent.match.key):
                if self._first(reading, (*match, "key", nth), "key", key):
                    self._by_key[key] = intent.name
            for nth, model in enumerate(intent.match.model):
                if self._first(reading, (*match, "model", nth), "model", model):
                    self._by_model[model] = intent.name
            if intent.match.default and self._first(
                reading, (*match, "default"), "default intent", ""
            ):
                self._default = intent.name

    def check_configuration(self) -> None:
        """The intents that the configuration gives to keys."""
        for key, intent in self._catalog.key_intents.items():
            path: Path = ("auth", "keys", key, "intent")
            place = self._catalog.key_places.get(key) or Position(CONFIG_FILE)
            if intent not in self._intents:
                if self.intents_known:
                    hint = did_you_mean(intent, self._intents)
                    self._note(place, path, f"unknown intent {intent!r}", hint)
            elif self._by_key.get(key, intent) != intent:
                hint = f"the policy says so at {self._places['key', key]}"
                message = f"key {key!r} is given to intent {intent!r}, and to another by policy"
                self._note(place, path, message, hint)

    def check_intents(self, reading: Reading[PolicyFile], file: PolicyFile) -> None:
        for index, intent in enumerate(file.intents):
            match: Path = ("intents", index, "match")
            for nth, key in enumerate(intent.match.key):
                if not self._catalog.open_keys:
                    self._known(reading, (*match, "key", nth), "key", key, self._catalog.keys)
            for nth, model in enumerate(intent.match.model):
                self._model(reading, (*match, "model", nth), model)
            for nth, earlier in repeated_rungs(intent.ladder):
                place: Path = ("intents", index, "ladder", nth)
                if reading.intact(place):
                    at = reading.position(place)
                    self._note(at, place, "this rung is there already", f"it is ladder[{earlier}]")
            for nth, rung in enumerate(intent.ladder):
                if rung.action == "switch_model" and isinstance(rung.argument, str):
                    path: Path = ("intents", index, "ladder", nth)
                    if self._model(reading, path, rung.argument):
                        self._quality(reading, path, rung.argument, [intent])

    # -- rules --------------------------------------------------------------------------

    def add_rules(self, reading: Reading[PolicyFile], file: PolicyFile) -> None:
        for index, rule in enumerate(file.rules):
            path: Path = ("rules", index)
            self._first(reading, (*path, "name"), "rule", rule.name)
            self._check_actions(reading, path, rule)
            self._rules.append(
                CompiledRule(
                    name=rule.name,
                    then=rule.then,
                    where=reading.position(path),
                    condition=self._condition(reading, (*path, "when"), rule.when),
                    params=self._params(reading, (*path, "then", "params"), rule),
                    dry_run=rule.dry_run or file.dry_run,
                )
            )

    def _check_actions(self, reading: Reading[PolicyFile], path: Path, rule: Rule) -> None:
        then, place = rule.then, (*path, "then")
        actions = [getattr(then, name) for name in then.__struct_fields__]
        nothing = not any(action not in (None, {}) for action in actions)
        if nothing and reading.intact(place):
            known = ", ".join(then.__struct_fields__)
            self._note(reading.position(place), place, "the rule does nothing", f"known: {known}")
        if then.intent is not None and self.intents_known:
            self._known(reading, (*place, "intent"), "intent", then.intent, self._intents)
        if then.pool is not None and not self._catalog.open_pools:
            self._known(reading, (*place, "pool"), "pool", then.pool, self._catalog.pools)
        if then.model is not None and self._model(reading, (*place, "model"), then.model):
            possible = list(self._intents.values())
            if then.intent is not None:
                possible = [i for i in possible if i.name == then.intent]
            elif self._default is None:
                possible = []  # a request may be under no intent, and then has no floor
            if self.intents_known:
                self._quality(reading, (*place, "model"), then.model, possible)

    def _condition(
        self, reading: Reading[PolicyFile], path: Path, source: str | None
    ) -> Condition | None:
        if source is None:
            return None
        try:
            pools = None if self._catalog.open_pools else self._catalog.pools
            return compile_condition(source, pools)
        except InvalidCondition as exc:
            scalar = reading.position(path)
            text = self._texts.get(scalar.file, "")
            for found in exc.findings:
                place = within_scalar(text, scalar, source, found.line, found.column)
                self._note(place, path, found.message, found.hint)
            return None

    def _params(
        self, reading: Reading[PolicyFile], path: Path, rule: Rule
    ) -> dict[str, msgspec.Raw]:
        encoded = {}
        for name, value in rule.then.params.items():
            try:
                encoded[name] = encode_param(name, value)
            except ValueError as exc:
                self._note(reading.position((*path, name)), (*path, name), str(exc))
        return encoded

    # -- the result ---------------------------------------------------------------------

    def build(self, files: list[PolicyFile]) -> PolicySet:
        references: set[Reference] = set()
        for rule in self._rules:
            if rule.condition is not None:
                references.update(rule.condition.references)
        return PolicySet(
            intents=self._intents,
            rules=tuple(self._rules),
            version=_version(files),
            default=self._default,
            for_tasks=self._for_tasks,
            by_header=self._by_header,
            by_key=self._by_key,
            by_model=self._by_model,
            references=tuple(sorted(references)),
            asks_pools=any(reference.of in ("pool", "pools") for reference in references),
        )

    # -- checks -------------------------------------------------------------------------

    def _first(self, reading: Reading[PolicyFile], path: Path, kind: str, name: str) -> bool:
        """Whether nothing of this kind and name came before; if so it is taken now."""
        if not reading.intact(path):
            return False
        place = reading.position(path)
        earlier = self._places.get((kind, name))
        if earlier is None:
            self._places[kind, name] = place
            return True
        what = f"{kind} {name!r}" if name else kind
        self._note(place, path, f"a second {what}", f"the first is at {earlier}")
        return False

    def _known(
        self, reading: Reading[PolicyFile], path: Path, kind: str, name: str, known: Iterable[str]
    ) -> bool:
        if name in (names := set(known)):
            return True
        hint = did_you_mean(name, names)
        self._note(reading.position(path), path, f"unknown {kind} {name!r}", hint)
        return False

    def _model(self, reading: Reading[PolicyFile], path: Path, name: str) -> bool:
        """Whether the model exists now. One that a backend may yet list is no problem."""
        if self._catalog.discovering and name not in self._catalog.models:
            return False
        return self._known(reading, path, "model", name, self._catalog.models)

    def _quality(
        self, reading: Reading[PolicyFile], path: Path, model: str, possible: list[Intent]
    ) -> None:
        """A model that is rated below the floor of every intent it could serve is a mistake."""
        quality = self._catalog.models[model].quality
        if quality is None or not possible:
            return
        if all(i.quality_floor is not None and quality < i.quality_floor for i in possible):
            lowest = min(possible, key=lambda intent: intent.quality_floor or 0.0)
            self._note(
                reading.position(path),
                path,
                f"model {model!r} has quality {quality:g}, below the floor of "
                f"{lowest.quality_floor or 0:g} of intent {lowest.name!r}",
                "it would never be used",
            )

    def _note(self, position: Position, path: Path, message: str, hint: str = "") -> None:
        self.problems.append(
            Problem(position=position, path=spell_path(path), message=message, hint=hint)
        )


def _in_force(intent: Intent, file: PolicyFile) -> Intent:
    """The intent with the dry runs of its file and its own written into every rung."""
    if not (file.dry_run or intent.dry_run):
        return intent
    replace = msgspec.structs.replace
    ladder = [replace(rung, dry_run=True) for rung in intent.ladder]
    return replace(intent, dry_run=True, ladder=ladder)


def _version(files: list[PolicyFile]) -> str:
    """Equal content, equal version; the order of files counts, their names do not."""
    encoded = msgspec.json.encode(files, order="sorted", enc_hook=float)
    return hashlib.blake2b(encoded, digest_size=6).hexdigest()
