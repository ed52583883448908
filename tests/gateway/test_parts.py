"""A gateway alone is built from its own parts."""

from pathlib import Path

from gateway.budgets import Budgets
from gateway.configuration import load
from gateway.parts import ALONE
from gateway.pools import Pool
from gateway.runtime import Gateway
from policies.honour import Honour
from policies.loop import Loop


async def test_one_process_shares_nothing(tmp_path: Path) -> None:
    (tmp_path / "setpoint.yaml").write_text("logging: {level: info}")
    gateway = Gateway(load(tmp_path / "setpoint.yaml", env={}), parts=ALONE)
    assert type(gateway.loop) is Loop
    assert type(gateway.budgets) is Budgets
    assert {type(pool) for pool in gateway.pools.values()} == {Pool}
    assert {type(honour) for honour in gateway.honours.values()} == {Honour}
    await gateway.aclose()
