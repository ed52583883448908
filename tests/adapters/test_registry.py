from typing import get_args

import pytest

from adapters.registry import DIALECTS, dialect_for
from contracts.config import Engine


@pytest.mark.req("RUN-1")
@pytest.mark.parametrize("engine", get_args(Engine))
def test_every_engine_of_the_configuration_has_a_dialect(engine):
    dialect = dialect_for(engine)
    assert dialect.engine == ("llmd" if engine == "embedded" else engine)
    assert dialect.probes()


def test_no_dialect_is_left_without_an_engine():
    assert set(DIALECTS) == set(get_args(Engine))
