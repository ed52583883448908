"""A small world to decide in: two rated models in one pool, a third below any floor, one unrated."""

from collections.abc import Callable

import pytest

from contracts.catalog import Catalog, ModelCard
from contracts.policy import PolicyFile
from contracts.yaml_document import read
from policies.compiler import compile_policies
from policies.policy_set import PolicySet

Compile = Callable[..., PolicySet]


@pytest.fixture(scope="session")
def catalog() -> Catalog:
    cards = [
        ModelCard(name="big", pool="cluster", upstream="Big-70B", quality=0.9),
        ModelCard(name="small", pool="cluster", upstream="Small-8B", quality=0.7),
        ModelCard(name="tiny", pool="local", upstream="tiny.gguf", quality=0.3),
        ModelCard(name="near", pool="local", upstream="near.gguf", quality=0.8),
        ModelCard(name="unrated", pool="local", upstream="who-knows"),
    ]
    return Catalog(
        models={card.name: card for card in cards},
        pools=frozenset({"cluster", "local"}),
        routes={"big": ("big", "small", "tiny", "near", "unrated")},
        keys=frozenset({"web", "nightly"}),
    )


@pytest.fixture(scope="session")
def compiled(catalog: Catalog) -> Compile:
    """`compiled(text, ...)`: policy files from YAML, named a.yaml, b.yaml, ..."""

    def compile_texts(*texts: str, against: Catalog = catalog) -> PolicySet:
        named = {f"{'abcdef'[nth]}.yaml": text for nth, text in enumerate(texts)}
        readings = [read(text, PolicyFile, file=file) for file, text in named.items()]
        return compile_policies(readings, against, named)

    return compile_texts
