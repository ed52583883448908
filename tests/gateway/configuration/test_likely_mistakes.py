"""What is told and never refused."""

from pathlib import Path

import pytest

from gateway.configuration.likely_mistakes import likely_mistakes
from gateway.policy_files import load_policies
from tests.support.configured import load_text

TEXT = """
pools: [{id: sim, engine: embedded}, {id: o, engine: openai, timeouts: {total: 1s, connect: 5s}}]
models: [{name: a, pool: o, quality: 0.9}, {name: b, pool: sim}, {name: c, pool: sim, quality: 0.2}]
routes:
  a: [a, b]
  chat: {targets: [b, c]}
"""


@pytest.mark.req("INT-11", "SEC-4")
def test_they_are_told_in_the_order_of_the_text(tmp_path: Path) -> None:
    loaded = load_text(tmp_path, TEXT)
    policy = load_policies(loaded.policies_path, loaded.catalog, {})
    told = likely_mistakes(loaded, policy, loaded.catalog)
    places = [(w.position.line, w.position.column, w.path, w.message.split(": ")[0]) for w in told]
    assert places == [
        (
            2,
            93,
            "pools[1].timeouts.connect",
            "the whole attempt ends after 1s, so this has no effect",
        ),
        (5, 10, "routes.a[1]", "'b' is unrated"),
        (6, 23, "routes.chat.targets[1]", "'c' is of quality 0.2"),
    ]
    assert told[1].hint == "give the model a quality"
