"""The picker's settings: llm-d's defaults by version, strict reading, and what follows from them."""

import re
from pathlib import Path

import msgspec
import pytest

from adapters.fakellmd.epp_settings import (
    PROFILES,
    Band,
    BandPolicy,
    EppSettings,
    Saturation,
    UsageLimit,
)
from adapters.fakellmd.settings import LlmdSettings, patched

pytestmark = pytest.mark.req("INT-9")


@pytest.mark.parametrize(
    ("profile", "ttl_s", "band_requests", "queue_duration", "ttl_header", "empty_pools"),
    [
        ("v0.9", 0.0, 0, False, False, False),
        ("v0.10", 60.0, 5000, False, False, True),
        ("main", 60.0, 5000, True, True, True),
    ],
)
def test_each_version_has_its_own_defaults_and_headers(
    profile: str,
    ttl_s: float,
    band_requests: int,
    queue_duration: bool,
    ttl_header: bool,
    empty_pools: bool,
) -> None:
    settings = msgspec.convert({"profile": profile}, EppSettings)
    assert settings.request_ttl_s == settings.empty_pool_ttl_s == ttl_s
    assert settings.band_policy(0).max_requests == band_requests
    assert settings.band_policy(0).max_bytes == 1_000_000_000
    facts = settings.facts
    assert facts is PROFILES[settings.profile]
    assert (facts.queue_duration_header, facts.ttl_header) == (queue_duration, ttl_header)
    assert facts.knows_empty_pools is empty_pools


def test_flow_control_is_off_unless_it_is_asked_for_and_nothing_is_watched_then() -> None:
    assert not EppSettings().flow_control
    assert not EppSettings(objectives={"critical": 10}).watches_pods
    assert EppSettings(objectives={"batch": -1}).watches_pods
    assert EppSettings(flow_control=True).watches_pods


def test_a_ttl_of_zero_is_none_and_the_empty_pools_follows_the_other_one() -> None:
    assert EppSettings(default_request_ttl_s=0.0).request_ttl_s == 0.0
    assert EppSettings(default_request_ttl_s=5.0).empty_pool_ttl_s == 5.0
    split = EppSettings(default_request_ttl_s=5.0, no_endpoint_request_ttl_s=0.0)
    assert (split.request_ttl_s, split.empty_pool_ttl_s) == (5.0, 0.0)


def test_every_objective_and_zero_have_a_band_with_the_closest_policy() -> None:
    settings = EppSettings(
        objectives={"critical": 10, "batch": -5, "nightly": -7},
        default_band=BandPolicy(ordering="edf"),
        default_negative_band=BandPolicy(fairness="round-robin", max_requests=3),
        priority_bands=(Band(priority=-7, ordering="slo-deadline"), Band(priority=99)),
    )
    assert settings.priorities() == [99, 10, 0, -5, -7]
    assert settings.band_policy(10).ordering == settings.band_policy(0).ordering == "edf"
    assert settings.band_policy(-5) == BandPolicy(fairness="round-robin", max_requests=3)
    assert settings.band_policy(-7) == BandPolicy(ordering="slo-deadline", max_requests=5000)


@pytest.mark.parametrize(
    ("epp", "told"),
    [
        ({"flowControl": True}, "flowControl"),
        ({"profile": "v1"}, "v1"),
        ({"saturation": {"detector": "guess"}}, "guess"),
        ({"saturation": {"queue_depth_threshold": 0}}, "queue_depth_threshold"),
        ({"usage_limit": {"policy": "priority-holdback", "min_ceiling": 1.0}}, "min_ceiling"),
        ({"priority_bands": [{"priority": 1}, {"priority": 1}]}, "same priority"),
        ({"priority_bands": [{"priority": 1, "fairness": "wfq"}]}, "wfq"),
        ({"admitters": ["coin"]}, "coin"),
        ({"objectives": {"critical": "high"}}, "objectives"),
        ({"scrape_interval_s": -1}, "scrape_interval_s"),
    ],
)
def test_a_wrong_patch_of_the_picker_is_refused_and_says_why(
    epp: dict[str, object], told: str
) -> None:
    with pytest.raises(ValueError, match=told):
        patched(LlmdSettings(), msgspec.json.encode({"epp": epp}))


def test_a_patch_goes_member_by_member_and_survives_json() -> None:
    first = patched(LlmdSettings(), b'{"epp": {"flow_control": true, "objectives": {"a": 1}}}')
    then = patched(first, b'{"epp": {"objectives": {"b": -1}, "scrape_interval_s": 0.5}}')
    assert then.epp == EppSettings(
        flow_control=True, objectives={"a": 1, "b": -1}, scrape_interval_s=0.5
    )
    assert msgspec.json.decode(msgspec.json.encode(then), type=LlmdSettings) == then
    assert then.epp.saturation == Saturation()
    assert then.epp.usage_limit == UsageLimit()


@pytest.mark.parametrize(
    ("pods_down", "told"),
    [
        ({"nobody": [0]}, "nobody"),
        ({"sim-large": [1]}, "does not have"),
        ({"sim-large": [-1]}, "0"),
    ],
)
def test_pods_that_do_not_exist_cannot_be_down(pods_down: dict[str, object], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        patched(LlmdSettings(), msgspec.json.encode({"pods_down": pods_down}))


def test_what_the_documentation_says_to_send_is_understood() -> None:
    text = (Path(__file__).parents[3] / "docs" / "llmd.md").read_text()
    told = re.findall(
        r"-d '(\{.*?\})'|with `(\{.*?\})`|^`(\{.*?\})`", text, re.DOTALL | re.MULTILINE
    )
    patches = [next(filter(None, found)) for found in told]
    assert len(patches) == 3
    for patch in patches:
        assert patched(LlmdSettings(), patch.encode()) != LlmdSettings()
