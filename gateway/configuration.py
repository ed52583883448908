"""From `setpoint.yaml` and the environment to what the gateway is built from.

`contracts.yaml_document` says whether the file has the right shape; here its parts are held against
each other and against the file system: secret files are read, paths resolved, names looked up.
Everything that is wrong is reported at once. Nothing is opened but the files that the configuration
names, nothing is started, and no message carries a secret.
"""

import difflib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from adapters.fakellmd.settings import LlmdSettings
from adapters.registry import NoDialect, dialect_for
from contracts import problems, yaml_document, yaml_nodes
from contracts.catalog import Catalog, ModelCard, RouteOptions
from contracts.config import (
    BudgetEntry,
    CallerKey,
    Config,
    Engine,
    Model,
    Name,
    Pool,
    Price,
    Records,
    Route,
    Secret,
    SecretFile,
    Telemetry,
)
from contracts.inference import Timeouts
from contracts.problems import Position, Problem, ProblemsFound, did_you_mean, spell_path
from contracts.prompt_template import TEMPLATES
from contracts.quantities import Duration, Money, Share, Size
from contracts.salvage import salvage
from contracts.yaml_document import Reading
from gateway.addresses import (
    LOOPBACK,
    Network,
    endpoint_fault,
    is_loopback,
    network,
    normal_endpoint,
)
from gateway.auth import OPERATOR
from gateway.policy_files import SHIPPED
from gateway.records import database_url
from gateway.secrets import MASK, SecretValue
from gateway.settings import Caller, LoadedConfig, PoolSpec, RecordsSpec, TelemetrySpec
from gateway.simulated_engine import (
    faults,
    is_stood_in_for,
    out_of_bounds,
    simulated_engines,
    undescribed,
)
from gateway.telemetry import is_installed
from policies.breaker import BreakerSettings

HOSTED: dict[Engine, str] = {
    "openai": "https://api.openai.com",
    "anthropic": "https://api.anthropic.com",
    "gemini": "https://generativelanguage.googleapis.com",
}
"""Where the providers are whose own dialect an engine is."""
KEYS: dict[Engine, tuple[str, str]] = {
    "openai": ("OPENAI_API_KEY", "OPENAI_BASE_URL"),
    "anthropic": ("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL"),
    "gemini": ("GEMINI_API_KEY", "GOOGLE_GEMINI_BASE_URL"),
}
"""Variables in which each provider's own SDK looks for its key, and for another address."""
SECRET_FILE_BYTES = 64 * 1024
BUDGET_WINDOW_S = (1.0, 31 * 86_400.0)
"""A shorter one is over before a request is; a longer one is forgotten by a restart before it is over."""
MAY_BE_ZERO = frozenset(
    {
        "drain_timeout",
        "timeout",
        "inter_token_latency_std_dev",
        "prefill_overhead",
        "prefill_time_per_token",
        "prefill_time_std_dev",
    }
)
"""Durations of which nothing at all makes sense: do not drain, do not queue, an engine that never varies."""
_LLMD: frozenset[Engine] = frozenset({"llmd", "embedded"})
_READ_BY: dict[str, frozenset[Engine]] = {
    "metrics": frozenset({"llmd"}),
    "inference_ttl": _LLMD,
    "priority_scheduling": _LLMD | {"vllm"},
}
"""Members of a pool that mean nothing to other engines."""
TAKES_TEXT: Engine = "triton"
"""The one that has to be told how a chat is written."""
_TELLS_LOAD: frozenset[Engine] = frozenset({"vllm", "tgi"})
"""Engines whose metrics are there unasked, and read without doing anything to them."""
_OWN_MACHINES: frozenset[Engine] = _LLMD | {"llamacpp", "vllm"}
"""Engines whose tokens cost nothing but time: a self-test asks for some without being told to."""


Routes = dict[str, list[Name] | Route]


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """What `check` found. `loaded` is None if and only if there are problems."""

    loaded: LoadedConfig | None
    problems: list[Problem]
    policies_path: Path | None
    """None where it is not known, or where nothing is."""
    catalog: Catalog
    """What policies can be held against: with problems, open wherever they leave a doubt."""
    reading: Reading[Config]
    """Where each part stands in the text."""


def load(path: Path | None, *, env: Mapping[str, str]) -> LoadedConfig:
    """Read and check the configuration; without `path`, the built-in one.

    Raises ProblemsFound with everything that is wrong, in the order of the text.
    """
    checked = check(path, env=env)
    if checked.loaded is None:
        raise ProblemsFound(checked.problems)
    return checked.loaded


def check(path: Path | None, *, env: Mapping[str, str]) -> Checked:
    """`load` for whoever wants to look further where there are problems.

    Raises ProblemsFound for a file that cannot be read at all.
    """
    if path is None:
        return _Check("built-in configuration", Path.cwd(), "", env).checked()
    try:
        with path.open("rb") as opened:
            raw = opened.read(yaml_nodes.MAX_CHARS * 4 + 1)
        text = raw.decode("utf-8")
    except OSError as exc:
        reason = exc.strerror or "cannot be read"
        raise ProblemsFound([Problem(position=Position(str(path)), message=reason)]) from exc
    except UnicodeDecodeError as exc:
        line = raw.count(b"\n", 0, exc.start) + 1
        column = exc.start - (raw.rfind(b"\n", 0, exc.start) + 1) + 1
        place = Position(str(path), line, column)
        raise ProblemsFound([Problem(position=place, message="this is not UTF-8")]) from exc
    # Not resolved: a mounted ConfigMap is a link to a folder that the next update removes.
    return _Check(str(path), path.absolute().parent, text, env).checked()


class _Check:
    """One loading: collects problems, each with its place, and what was resolved on the way."""

    def __init__(self, file: str, base_dir: Path, text: str, env: Mapping[str, str]) -> None:
        self._file = file
        self._base_dir = base_dir
        self._env = env
        self._reading = yaml_document.read(text, Config, file=file, env=env)
        self._problems = list(self._reading.problems)

    def checked(self) -> Checked:
        """Looks at whatever could be read: `_note` is silent about parts that are not intact, and
        what another part could have settled counts only where that part is (`_sure`)."""
        config = salvage(self._reading, Config)
        if config is None or () in self._reading.damaged:
            return Checked(
                loaded=None,
                policies_path=None,
                problems=self._problems,
                catalog=Catalog(discovering=True, open_keys=True, open_pools=True),
                reading=self._reading,
            )
        host, port = self._bind(config)
        token = self._secret(config.auth.token, ("auth", "token"))
        callers = self._callers(config.auth.keys)
        self._budget(config.auth.default_budget, ("auth", "default_budget"))
        self._guard(config, host, token, callers)
        proxies = self._proxies(config, host)
        asked_for_none = config.adapter is None and not config.pools
        if asked_for_none and self._sure((), "adapter", "pools"):
            pools, models, routes = self._built_in(config)
        else:
            pools, models = self._pools(config), config.models
            routes = config.routes
        catalog = self._catalog(pools, models, routes, config)
        discovering = {spec.id for spec in pools} - {model.pool for model in models}
        pools = tuple(msgspec.structs.replace(p, discovers=p.id in discovering) for p in pools)
        self._durations(config, ())
        self._simulations(config)
        self._tasks(config)
        policies_path = self._policies(config)
        decisions_file = self._decisions(config)
        records = self._records(config)
        telemetry = self._telemetry(config.telemetry)
        if self._problems:
            known = self._sure((), "policies")
            return Checked(
                loaded=None,
                problems=self._problems,
                policies_path=_if_there(policies_path) if known else None,
                catalog=catalog,
                reading=self._reading,
            )
        loaded = LoadedConfig(
            config=_masked(config, records),
            file=self._file,
            base_dir=self._base_dir,
            host=host,
            port=port,
            policies_path=policies_path,
            log_file=self._base_dir / config.logging.file if config.logging.file else None,
            decisions_file=decisions_file,
            token=token,
            callers=tuple(callers.values()),
            proxies=proxies,
            pools=pools,
            catalog=catalog,
            records=records,
            telemetry=telemetry,
        )
        return Checked(
            loaded=loaded,
            problems=[],
            policies_path=policies_path,
            catalog=catalog,
            reading=self._reading,
        )

    # --- who may call

    def _bind(self, config: Config) -> tuple[str, int]:
        host, _, port_text = config.bind_addr.rpartition(":")
        port = int(port_text)
        if port > 65535:
            self._note(("bind_addr",), f"the port {port} is above 65535")
        return host.strip("[]"), port

    def _guard(
        self, config: Config, host: str, token: SecretValue | None, callers: dict[int, Caller]
    ) -> None:
        """SEC-1: open to others only with a token."""
        wanted = config.auth.token is not None or config.auth.keys
        if not is_loopback(host) and not wanted:
            self._note(
                ("bind_addr",),
                "this address can be reached from elsewhere, and no token protects it",
                "set auth.token or auth.keys, or bind to 127.0.0.1",
                sure=self._sure((), "bind_addr", "auth"),
            )
        seen: dict[SecretValue, str] = {} if token is None else {token: "auth.token"}
        for index, caller in callers.items():
            other = seen.setdefault(caller.token, f"key {caller.name!r}")
            if other != f"key {caller.name!r}":
                self._note(("auth", "keys", index, "token"), f"the same token as {other}")

    def _proxies(self, config: Config, host: str) -> tuple[Network, ...]:
        """Where trusted proxies connect from. Whoever can connect from there can be anybody, so beyond
        loopback it has to be said who that is."""
        auth = config.auth
        if auth.trusted_proxies is None:
            if auth.trust_proxy_auth and not is_loopback(host):
                self._note(
                    ("auth", "trust_proxy_auth"),
                    "this address can be reached from elsewhere, and nothing says which proxies there "
                    "are trusted",
                    "list their addresses in auth.trusted_proxies, or bind to 127.0.0.1",
                    sure=self._sure((), "bind_addr", "auth")
                    and self._sure(("auth",), "trust_proxy_auth", "trusted_proxies"),
                )
            found: tuple[Network, ...] = LOOPBACK
        else:
            given = enumerate(auth.trusted_proxies)
            found = tuple(n for i, text in given if (n := self._network(text, i)) is not None)
            if not auth.trusted_proxies and auth.trust_proxy_auth:
                message = "a proxy is trusted, and this names none"
                self._note(("auth", "trusted_proxies"), message, "list their addresses")
        if auth.optional and auth.trust_proxy_auth and any(map(_may_be_loopback, found)):
            self._note(
                ("auth", "optional"),
                "whoever comes through the proxy on this machine without a name would be the operator",
                "set optional or trust_proxy_auth, not both",
                sure=self._sure(("auth",), "optional", "trust_proxy_auth", "trusted_proxies"),
            )
        return found

    def _network(self, text: str, index: int) -> Network | None:
        path: problems.Path = ("auth", "trusted_proxies", index)
        try:
            found = network(text)
        except ValueError as exc:
            self._note(path, str(exc))
            return None
        if found.prefixlen == 0:
            self._note(path, "this is every address: anybody could be anybody")
            return None
        return found

    def _callers(self, keys: list[CallerKey]) -> dict[int, Caller]:
        """By their place in the list: a key whose secret cannot be read is none."""
        self._unique(("auth", "keys"), "name", [key.name for key in keys])
        callers = {}
        for index, key in enumerate(keys):
            if key.name == OPERATOR:
                message = "this is what the holder of auth.token is called"
                self._note(("auth", "keys", index, "name"), message, "choose another name")
            token = self._secret(key.token, ("auth", "keys", index, "token"))
            self._budget(key.budget or (), ("auth", "keys", index, "budget"))
            if token is not None:
                callers[index] = Caller(
                    name=key.name,
                    token=token,
                    intent=key.intent,
                    weight=key.weight,
                    budget=None if key.budget is None else tuple(key.budget),
                )
        return callers

    def _budget(self, entries: Sequence[BudgetEntry], path: problems.Path) -> None:
        seen: set[tuple[str, float, bool]] = set()
        for index, entry in enumerate(entries):
            place = (*path, index)
            kinds = [k for k in ("requests", "tokens", "cost") if getattr(entry, k) is not None]
            if len(kinds) != 1:
                self._note(place, "exactly one of requests, tokens and cost is needed")
                continue
            if entry.cost is not None and entry.cost <= 0:
                self._note((*place, "cost"), "must be more than zero")
            least_s, most_s = BUDGET_WINDOW_S
            if entry.per > 0 and not least_s <= entry.per <= most_s:
                self._note((*place, "per"), f"must be from {least_s:g}s to {most_s / 86_400:g}d")
            key = (kinds[0], float(entry.per), entry.per.calendar_day)
            if key in seen:
                self._note(place, f"a second limit of {kinds[0]} for the same time")
            seen.add(key)

    def _secret(
        self, given: Secret | None, path: problems.Path, *, blanks: bool = False
    ) -> SecretValue | None:
        """None where none is wanted, and where it is wrong (then with a problem). `blanks`: it is a whole
        header, such as `Basic abc`."""
        if given is None:
            return None
        text: str | None = given if isinstance(given, str) else self._secret_file(given, path)
        if text is None:
            return None
        if not text:
            self._note(path, "empty", "leave the field out, or give it a value")
        elif not text.isascii() or not text.isprintable():
            self._note(path, "a secret travels in a header: printable ASCII only")
        elif " " in text and not blanks:
            self._note(path, "a secret travels in a header: printable ASCII without blanks only")
        else:
            return SecretValue(text)
        return None

    def _secret_file(self, given: SecretFile, path: problems.Path) -> str | None:
        path = (*path, "file")
        try:
            with (self._base_dir / given.file).open("rb") as opened:
                raw = opened.read(SECRET_FILE_BYTES + 1)
        except (OSError, ValueError) as exc:  # ValueError: a NUL in the path
            reason = exc.strerror if isinstance(exc, OSError) else None
            self._note(path, f"the secret file cannot be read: {reason or 'not a path'}")
            return None
        if len(raw) > SECRET_FILE_BYTES:
            self._note(path, f"the secret file has more than {SECRET_FILE_BYTES} bytes")
            return None
        text = raw.decode("utf-8", "replace").strip()
        if not text:
            self._note(path, "the secret file is empty")
            return None
        return text

    # --- where work can go

    def _built_in(self, config: Config) -> tuple[tuple[PoolSpec, ...], list[Model], Routes]:
        """The fake llm-d in process, and a pool for each provider whose key is in the environment."""
        sim = Pool(id="sim", engine="embedded")
        pools = [_spec(sim, (), None, self._simulated(sim, config.models))]
        pools += [spec for engine in KEYS if (spec := self._provider(engine)) is not None]
        if config.models or not self._sure((), "models"):
            return tuple(pools), config.models, config.routes
        models = [
            _built_in_model("assistant", "sim-large", quality=0.9, price=(0.60, 0.80)),
            _built_in_model("assistant-small", "sim-small", quality=0.7, price=(0.05, 0.08)),
        ]
        return (
            tuple(pools),
            models,
            config.routes or {"assistant": ["assistant", "assistant-small"]},
        )

    def _provider(self, engine: Engine) -> PoolSpec | None:
        """A pool for a provider whose key is in the environment."""
        key_name, url_name = KEYS[engine]
        key = self._env.get(key_name, "").strip()
        if not key:
            return None
        place = Position("the environment")
        base_url = self._env.get(url_name, "").strip() or HOSTED[engine]
        wrong = endpoint_fault(base_url)
        if wrong:
            self._problems.append(Problem(position=place, path=url_name, message=wrong))
        if not key.isascii() or not key.isprintable() or " " in key:
            said = "printable ASCII without blanks only"
            self._problems.append(Problem(position=place, path=key_name, message=said))
        pool = Pool(id=engine, engine=engine)
        return _spec(pool, (normal_endpoint(base_url),), SecretValue(key))

    def _pools(self, config: Config) -> tuple[PoolSpec, ...]:
        if config.adapter is not None:
            if config.pools:
                self._note(
                    ("adapter",),
                    "adapter and pools are both given",
                    "adapter is the short form of one pool: keep one of the two",
                )
            short = config.adapter
            pool = Pool(
                id="default",
                engine=short.engine,
                endpoint=short.endpoint,
                api_key=short.api_key,
            )
            return (self._pool(pool, config.models, ("adapter",)),)
        self._unique(("pools",), "id", [pool.id for pool in config.pools])
        return tuple(
            self._pool(pool, config.models, ("pools", index))
            for index, pool in enumerate(config.pools)
        )

    def _pool(self, pool: Pool, models: list[Model], path: problems.Path) -> PoolSpec:
        given: list[tuple[problems.Path, str]] = [
            ((*path, "endpoints", index), url) for index, url in enumerate(pool.endpoints)
        ]
        if pool.endpoint is not None:
            if given:
                self._note((*path, "endpoint"), "endpoint and endpoints are both given")
            given = [((*path, "endpoint"), pool.endpoint)]
        for place, url in given:
            wrong = endpoint_fault(url)
            if wrong:
                self._note(place, wrong)
        known = self._sure(path, "engine") and self._has_dialect(pool, path)
        if not known:
            pass  # what it needs depends on what it is
        elif pool.engine == "embedded":
            if given:
                self._note(given[0][0], "the embedded engine runs in this process: no endpoint")
        elif not given and pool.engine in HOSTED:
            given = [(path, HOSTED[pool.engine])]
        elif not given:
            self._without_endpoint(pool, models, path)
        self._read_by_engine(pool, path, known)
        endpoints = [normal_endpoint(url) for _, url in given]
        for index in _repeated(endpoints):
            self._note(given[index][0], "the same endpoint twice")
        spec = _spec(
            pool,
            tuple(endpoints),
            self._secret(pool.api_key, (*path, "api_key")),
            self._simulated(pool, models),
        )
        if pool.ca_file is None:
            return spec
        ca_file = self._base_dir / pool.ca_file
        if not _exists(ca_file, Path.is_file):
            self._note((*path, "ca_file"), "no such file")
        return msgspec.structs.replace(spec, ca_file=ca_file)

    def _has_dialect(self, pool: Pool, path: problems.Path) -> bool:
        try:
            dialect_for(pool.engine)
        except NoDialect as exc:
            self._note((*path, "engine"), str(exc), exc.hint)
            return False
        return True

    def _without_endpoint(self, pool: Pool, models: list[Model], path: problems.Path) -> None:
        """Then a fake in process has to serve each of its models."""
        known = self._sure(path, "endpoint", "endpoints", "simulate") and (
            self._simulations_known(models)
        )
        if not is_stood_in_for(pool, models):
            message = f"a pool of engine {pool.engine} needs an endpoint"
            self._note(path, message, "add endpoint: URL", sure=known)
        elif all(model.pool != pool.id for model in models):
            message = "without an endpoint, only models that are configured can be served"
            self._note((*path, "simulate"), message, "add one to models", sure=known)
        for index in undescribed(pool, models) if is_stood_in_for(pool, models) else ():
            message = f"pool {pool.id!r} has no endpoint, and nothing says what this model is like"
            hint = "add simulate to the model or to its pool"
            self._note(("models", index), message, hint, sure=known)

    def _simulations_known(self, models: list[Model]) -> bool:
        """Whether no mistake can have hidden that a model is simulated, or in which pool it lives."""
        return self._sure((), "models") or (
            ("models",) in self._reading.positions
            and all(
                self._sure(("models", index), "pool", "simulate") for index in range(len(models))
            )
        )

    def _simulated(self, pool: Pool, models: list[Model]) -> dict[str, LlmdSettings]:
        for place, message, hint in faults(pool, models):
            self._note(place, message, hint)
        return simulated_engines(pool, models)

    def _read_by_engine(self, pool: Pool, path: problems.Path, known: bool) -> None:
        """What a pool says to an engine that does not listen. `known`: it is clear which one that is."""
        if pool.metrics is not None and (wrong := endpoint_fault(pool.metrics)):
            self._note((*path, "metrics"), wrong)
        if not known:
            return
        if pool.load_metrics and dialect_for(pool.engine).load_metrics() is None:
            said = f"engine {pool.engine} does not tell how busy it is"
            self._note((*path, "load_metrics"), said, "leave it out")
        elif pool.load_metrics and not (pool.endpoint or pool.endpoints):
            said = "without an endpoint there is nothing to ask"
            self._note((*path, "load_metrics"), said, "leave it out")
        for name, engines in _READ_BY.items():
            if getattr(pool, name) and pool.engine not in engines:
                said = f"a pool of engine {pool.engine} has no use for it"
                self._note((*path, name), said, f"for {', '.join(sorted(engines))} only")

    # --- what clients may name

    def _catalog(
        self,
        pools: tuple[PoolSpec, ...],
        models: list[Model],
        routes: Routes,
        config: Config,
    ) -> Catalog:
        self._unique(("models",), "name", [model.name for model in models])
        pools_known = self._sure((), "adapter") and self._all_named(("pools",), "id")
        ids = frozenset(pool.id for pool in pools if pool.id)
        for index, model in enumerate(models):
            place: problems.Path = ("models", index, "pool")
            if model.pool not in ids and pools_known:
                self._note(place, f"there is no pool {model.pool!r}", did_you_mean(model.pool, ids))
        engines = {pool.id: pool.engine for pool in pools}
        for index, model in enumerate(models):
            engine = engines.get(model.pool, TAKES_TEXT)
            if model.template is not None and engine != TAKES_TEXT:
                said = f"engine {engine} writes its prompts itself"
                self._note(("models", index, "template"), said, f"for {TAKES_TEXT} only")
        cards = {m.name: _card(m, engines.get(m.pool, "")) for m in models if m.name}
        # A model that names no pool there is has meant one of those that no model names.
        lost = sum(model.pool not in ids for model in models)
        unnamed = len(ids - {model.pool for model in models})
        models_known = pools_known and self._all_named(("models",), "name")
        discovering = unnamed > lost or not models_known
        self._routes(routes, cards, discovering=discovering)
        keys = config.auth.keys
        intents = {
            key.name: (key.intent, self._reading.position(("auth", "keys", index, "intent")))
            for index, key in enumerate(keys)
            if key.name and key.intent is not None
        }
        keys_known = self._sure((), "auth") or (
            ("auth",) in self._reading.positions
            and self._sure(("auth",), "trust_proxy_auth")
            and self._all_named(("auth", "keys"), "name")
        )
        return Catalog(
            models=cards,
            pools=ids,
            routes={name: tuple(targets_of(route)) for name, route in routes.items()},
            route_options={
                name: _route_options(route)
                for name, route in routes.items()
                if isinstance(route, Route)
            },
            keys=frozenset(key.name for key in keys if key.name),
            key_intents={name: intent for name, (intent, _) in intents.items()},
            key_places={name: place for name, (_, place) in intents.items()},
            open_keys=config.auth.trust_proxy_auth or not keys_known,
            open_pools=not pools_known,
            discovering=discovering,
        )

    def _routes(self, routes: Routes, cards: Mapping[str, ModelCard], *, discovering: bool) -> None:
        for name, route in routes.items():
            targets, path = targets_of(route), targets_path(name, route)
            if not targets:
                self._note(path, "an empty route")
            for index in _repeated(targets):
                self._note((*path, index), f"{targets[index]!r} is tried twice")
            for index, target in enumerate(targets):
                if target not in cards and not discovering:
                    self._note(
                        (*path, index),
                        f"there is no model {target!r}",
                        did_you_mean(target, cards),
                    )
            if isinstance(route, Route) and route.hedge is not None:
                self._durations(route.hedge, ("routes", name, "hedge"))

    # --- the rest

    def _policies(self, config: Config) -> Path:
        if config.policies is None:
            return SHIPPED
        path = Path(os.path.normpath(self._base_dir / config.policies))
        if not _exists(path, Path.exists):
            self._note(("policies",), "no such file or folder")
        return path

    def _decisions(self, config: Config) -> Path | None:
        if not config.logging.decisions:
            return None
        path = self._base_dir / config.logging.decisions
        if config.logging.file and os.path.normpath(self._base_dir / config.logging.file) == (
            os.path.normpath(path)
        ):
            self._note(("logging", "decisions"), "the same file as logging.file")
        return path

    def _records(self, config: Config) -> RecordsSpec | None:
        """None where none are wanted, and where something is wrong (then with a problem)."""
        if config.records is None:
            if config.tasks.durable:
                message = "durable tasks are kept in the records database, and there is none"
                hint = "add records: sqlite:///var/setpoint.db"
                known = self._sure((), "records") and self._sure(("tasks",), "durable")
                self._note(("tasks", "durable"), message, hint, sure=known)
            return None
        if isinstance(config.records, str):
            path: problems.Path = ("records",)
            given = Records(url=config.records)
        else:
            path, given = ("records", "url"), config.records
        url = given.url if isinstance(given.url, str) else self._secret_file(given.url, path)
        if url is None:
            return None
        try:
            database = database_url.parse(url, self._base_dir)
        except ValueError as exc:
            self._note(path, str(exc))
            return None
        return RecordsSpec(
            database=database,
            bodies=given.bodies,
            keep_s=float(given.keep),
            max_bytes=int(given.max_size),
            spill=self._base_dir / given.spill,
        )

    def _telemetry(self, given: Telemetry | None) -> TelemetrySpec | None:
        """None where none is wanted, and where something is wrong (then with a problem)."""
        if given is None:
            return None
        if not is_installed():
            message = "traces and metrics by OTLP need packages that are not installed"
            hint = "pip install 'setpoint[otel]', or leave telemetry out"
            self._note(("telemetry",), message, hint, sure=self._sure((), "telemetry"))
        if wrong := endpoint_fault(given.otlp):
            self._note(("telemetry", "otlp"), wrong.replace("use api_key", "use headers"))
        headers = [
            (name, value)
            for name, secret in given.headers.items()
            if (value := self._secret(secret, ("telemetry", "headers", name), blanks=True))
        ]
        return TelemetrySpec(
            otlp=given.otlp.rstrip("/"),
            headers=tuple(headers),
            sample=float(given.sample),
            traceparent=given.traceparent,
        )

    def _durations(self, part: msgspec.Struct, path: problems.Path) -> None:
        """Times and sizes that make no sense at zero."""
        for name in part.__struct_fields__:
            value = getattr(part, name)
            if isinstance(value, Duration | Size) and float(value) == 0 and name not in MAY_BE_ZERO:
                self._note((*path, name), "must be more than zero")
            for index, child in _structs(value):
                self._durations(child, (*path, name, *index))

    def _tasks(self, config: Config) -> None:
        if config.tasks.ttl > config.tasks.max_ttl and self._sure(("tasks",), "ttl", "max_ttl"):
            self._note(
                ("tasks", "ttl"),
                "a task that says nothing would wait longer than one may that says so",
                f"at most tasks.max_ttl, {config.tasks.max_ttl:g}s",
            )

    def _simulations(self, config: Config) -> None:
        """Times that no engine can have, wherever one is described."""
        described = [(("pools", i, "simulate"), p.simulate) for i, p in enumerate(config.pools)]
        described += [(("models", i, "simulate"), m.simulate) for i, m in enumerate(config.models)]
        for path, simulate in described:
            for field, message in out_of_bounds(simulate):
                self._note((*path, field), message)

    def _unique(self, path: problems.Path, field: str, names: list[str]) -> None:
        for index in _repeated(names):
            self._note((*path, index, field), f"{names[index]!r} is given twice")

    def _sure(self, parent: problems.Path, *names: str) -> bool:
        """Whether these fields are what the author meant: intact, and not there only where no
        unknown field beside them looks like a slip of theirs."""
        unknown = [str(path[-1]) for path in self._reading.damaged if path and path[:-1] == parent]
        return all(
            self._reading.intact((*parent, name))
            and (
                (*parent, name) in self._reading.positions
                or not difflib.get_close_matches(name, unknown, n=1)
            )
            for name in names
        )

    def _all_named(self, path: problems.Path, field: str) -> bool:
        """Whether no mistake can have hidden the name of an entry of the list at `path`."""
        if self._sure(path[:-1], str(path[-1])):
            return True
        entries = self._reading.tree
        for part in path:
            entries = entries.get(part) if isinstance(entries, dict) else None
        return isinstance(entries, list) and all(
            self._reading.intact((*path, index, field)) for index in range(len(entries))
        )

    def _note(
        self, path: problems.Path, message: str, hint: str = "", *, sure: bool | None = None
    ) -> None:
        """`sure` is for what is said at `path` and does not hang on all that is in it."""
        if not (self._reading.intact(path) if sure is None else sure):
            return
        position = self._reading.position(path)
        self._problems.append(
            Problem(position=position, path=spell_path(path), message=message, hint=hint)
        )


def targets_of(route: list[Name] | Route) -> list[Name]:
    return route.targets if isinstance(route, Route) else route


def targets_path(name: str, route: list[Name] | Route) -> problems.Path:
    """Where in the file its targets stand."""
    return ("routes", name, "targets") if isinstance(route, Route) else ("routes", name)


def _route_options(route: Route) -> RouteOptions:
    if route.hedge is None:
        return RouteOptions(resume=route.resume)
    return RouteOptions(
        resume=route.resume,
        hedge_after_s=float(route.hedge.after),
        hedge_budget=float(route.hedge.budget),
    )


def _may_be_loopback(proxies: Network) -> bool:
    return any(
        proxies.version == loopback.version and proxies.overlaps(loopback) for loopback in LOOPBACK
    )


def _repeated(names: list[str]) -> Iterator[int]:
    """The index of each name that has come before."""
    seen: set[str] = set()
    for index, name in enumerate(names):
        if name in seen:
            yield index
        seen.add(name)


def _if_there(path: Path) -> Path | None:
    return path if _exists(path, Path.exists) else None


def _exists(path: Path, test: Callable[[Path], bool]) -> bool:
    try:
        return test(path)
    except (OSError, ValueError):  # a path that no file can have
        return False


def _structs(value: object) -> Iterator[tuple[tuple[int, ...], msgspec.Struct]]:
    if isinstance(value, msgspec.Struct):
        yield (), value
    elif isinstance(value, list):
        for index, item in enumerate(value):
            if isinstance(item, msgspec.Struct):
                yield (index,), item


def _spec(
    pool: Pool,
    endpoints: Iterable[str],
    api_key: SecretValue | None,
    simulated: dict[str, LlmdSettings] | None = None,
) -> PoolSpec:
    return PoolSpec(
        id=pool.id,
        engine=pool.engine,
        endpoints=tuple(endpoints),
        api_key=api_key,
        namespace=pool.namespace,
        max_inflight=pool.max_inflight,
        max_waiting=pool.queue.max_requests,
        max_tasks=pool.queue.max_tasks,
        queue_timeout_s=float(pool.queue.timeout),
        timeouts=Timeouts(
            connect_s=float(pool.timeouts.connect),
            first_token_s=float(pool.timeouts.first_token),
            idle_s=float(pool.timeouts.idle),
            total_s=float(pool.timeouts.total),
            min_tokens_per_s=pool.timeouts.min_tokens_per_s,
        ),
        retries=pool.retries,
        retry_budget=float(pool.retry_budget),
        breaker=BreakerSettings(
            failures=pool.breaker.failures,
            window_s=float(pool.breaker.window),
            cooldown_s=float(pool.breaker.cooldown),
        ),
        probe_interval_s=float(pool.probe_interval),
        verify_tls=pool.verify_tls,
        ca_file=None,
        discovers=False,
        metrics=pool.metrics,
        priority_scheduling=pool.priority_scheduling,
        inference_ttl=pool.inference_ttl,
        load_metrics=(
            pool.engine in _TELLS_LOAD and bool(pool.endpoint or pool.endpoints)
            if pool.load_metrics is None
            else pool.load_metrics
        ),
        unsupported=pool.unsupported,
        self_test=(pool.engine in _OWN_MACHINES) if pool.self_test is None else pool.self_test,
        simulated=simulated or {},
    )


def _card(model: Model, engine: Engine) -> ModelCard:
    price = model.price
    cached = None if price is None else price.cached_input
    return ModelCard(
        name=model.name,
        pool=model.pool,
        upstream=model.upstream or model.name,
        quality=None if model.quality is None else float(model.quality),
        context=model.context,
        input_price=None if price is None else float(price.input),
        output_price=None if price is None else float(price.output),
        cached_input_price=None if cached is None else float(cached),
        prefill=_prefills(engine) if model.prefill is None else model.prefill,
        template=TEMPLATES[model.template] if isinstance(model.template, str) else model.template,
    )


def _prefills(engine: Engine) -> bool:
    """What is known of an engine. Of one that nobody speaks with there is a problem already."""
    try:
        return dialect_for(engine).prefill() != "none"
    except NoDialect:
        return False


def _built_in_model(
    name: str, upstream: str, *, quality: float, price: tuple[float, float]
) -> Model:
    return Model(
        name=name,
        pool="sim",
        upstream=upstream,
        quality=Share(quality),
        context=LlmdSettings().max_model_len,
        price=Price(input=Money(price[0]), output=Money(price[1])),
    )


def _masked(config: Config, records: RecordsSpec | None) -> Config:
    """The configuration with `***` for every secret; where a secret's file lies may be shown."""
    replace = msgspec.structs.replace

    def mask(secret: Secret | None) -> Secret | None:
        return MASK if isinstance(secret, str) else secret

    keys = [replace(key, token=mask(key.token)) for key in config.auth.keys]
    adapter = config.adapter and replace(config.adapter, api_key=mask(config.adapter.api_key))
    shown = config.records
    if isinstance(shown, str):
        shown = records.database.shown if records else MASK
    elif shown is not None and isinstance(shown.url, str):
        shown = replace(shown, url=records.database.shown if records else MASK)
    telemetry = config.telemetry
    if telemetry is not None:
        masked = {n: MASK if isinstance(v, str) else v for n, v in telemetry.headers.items()}
        telemetry = replace(telemetry, headers=masked)
    return replace(
        config,
        auth=replace(config.auth, token=mask(config.auth.token), keys=keys),
        telemetry=telemetry,
        adapter=adapter,
        pools=[replace(pool, api_key=mask(pool.api_key)) for pool in config.pools],
        records=shown,
    )
