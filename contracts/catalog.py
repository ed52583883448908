"""What exists to route to: the models clients may name, and the pools behind them."""

import msgspec

from contracts.inference import Resume, Target
from contracts.problems import Position
from contracts.prompt_template import PromptTemplate


class ModelCard(msgspec.Struct, frozen=True, kw_only=True):
    """One model name. `quality` None: unrated. Prices in USD per million tokens."""

    name: str
    pool: str
    upstream: str
    quality: float | None = None
    context: int | None = None
    input_price: float | None = None
    output_price: float | None = None
    cached_input_price: float | None = None
    """None: as any other prompt token."""
    cache_write_price: float | None = None
    """Of prompt tokens that go into the backend's cache. None: as any other prompt token."""
    prefill: bool = False
    """It goes on with a last message of the assistant's."""
    template: PromptTemplate | None = None
    """How its engine is told a chat, where that takes a text only."""


class RouteOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What a route says beside its targets."""

    resume: Resume = "off"
    hedge_after_s: float | None = None
    hedge_budget: float = 0.1


class Catalog(msgspec.Struct, frozen=True, kw_only=True):
    """A consistent view of models, pools and routes. Replaced as a whole, never edited."""

    models: dict[str, ModelCard] = {}
    pools: frozenset[str] = frozenset()
    routes: dict[str, tuple[str, ...]] = {}
    route_options: dict[str, RouteOptions] = {}
    """Of those routes that say more than their targets."""
    keys: frozenset[str] = frozenset()
    key_intents: dict[str, str] = {}
    """The intent that the configuration gives a caller's key."""
    key_places: dict[str, Position] = {}
    """Where it says so, for whoever finds that intent wanting."""
    open_keys: bool = False
    """A trusted proxy names the callers, so a key that is not in `keys` may yet appear."""
    open_pools: bool = False
    """The configuration could not be read whole, so a pool that is not in `pools` may yet exist."""
    discovering: bool = False
    """Some pool lists its models itself, so a name that is not here may yet appear."""
    targets: dict[str, Target] = {}
    """Of `models`, whatever it is made with: each as a place to try."""

    def __post_init__(self) -> None:
        targets = {name: _target(card) for name, card in self.models.items()}
        msgspec.structs.force_setattr(self, "targets", targets)


def _target(card: ModelCard) -> Target:
    return Target(
        model=card.name,
        pool=card.pool,
        upstream=card.upstream,
        context=card.context,
        prefill=card.prefill,
    )
