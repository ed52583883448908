"""How the contenders are configured."""

from pathlib import Path

import yaml

from tests.bench.measures.imports import import_time_s
from tests.bench.peers import litellm, nginx, setpoint
from tests.bench.peers.peer import Site
from tests.bench.plan import caller_token
from tests.bench.report import written
from tests.bench.run import DOCUMENT, MEASURES
from tests.bench.test_result import GOOD, report, table

SITE = Site(folder=Path("folder"), port=1234, upstream="http://127.0.0.1:99")


def test_nginx_streams_over_connections_that_it_keeps() -> None:
    text = nginx.config(SITE, root=False)
    assert "listen 127.0.0.1:1234 " in text
    assert "server 127.0.0.1:99;" in text
    assert "proxy_buffering off;" in text
    assert 'proxy_set_header Connection "";' in text
    assert text.count("{") == text.count("}")
    assert "user root" in nginx.config(SITE, root=True)


def test_litellm_knows_every_model_of_the_upstream() -> None:
    models = yaml.safe_load(litellm.config(SITE))["model_list"]
    assert [each["model_name"] for each in models] == ["instant", "paced-10", "paced-50"]
    assert {each["litellm_params"]["api_base"] for each in models} == {"http://127.0.0.1:99/v1"}


def test_setpoint_has_as_many_callers_and_rules_as_it_is_told() -> None:
    keys = yaml.safe_load(setpoint.config(SITE, 1_000))["auth"]["keys"]
    assert len({key["name"] for key in keys}) == 1_000
    assert keys[-1]["token"] == caller_token(999)
    assert "rules" not in yaml.safe_load(setpoint.policies(0))
    assert len({rule["name"] for rule in yaml.safe_load(setpoint.policies(100))["rules"]}) == 100


def test_imports_are_added_up_by_their_own_times() -> None:
    said = (
        "import time: self [us] | cumulative | imported package\n"
        "import time:      1500 |       1500 |   a\n"
        "import time:       500 |       2000 | b\n"
        "something else\n"
    )
    assert import_time_s(said) == 0.002


def test_the_document_has_a_place_for_every_table() -> None:
    results = {name: table({"Setpoint": GOOD}) for name in MEASURES}
    assert written(DOCUMENT.read_text("utf-8"), report(**results)).count("**A thing.**") == len(
        MEASURES
    )
