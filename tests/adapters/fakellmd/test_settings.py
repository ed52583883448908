"""Settings are strict, and a patch changes all or nothing."""

import msgspec
import pytest

from adapters.fakellmd.settings import Drift, Latency, LlmdSettings, patched

pytestmark = pytest.mark.req("INT-9")


def test_a_patch_changes_what_it_names_and_keeps_the_rest() -> None:
    before = LlmdSettings()
    after = patched(before, b'{"latency": {"inter_token_latency_s": 0.5}, "max_num_seqs": 3}')
    assert after.latency == msgspec.structs.replace(before.latency, inter_token_latency_s=0.5)
    assert after == msgspec.structs.replace(before, latency=after.latency, max_num_seqs=3)
    assert patched(before, b'{"max_waiting_queue_length": null}').max_waiting_queue_length is None


@pytest.mark.parametrize(
    ("patch", "told"),
    [
        (b'{"max_num_seq": 3}', "max_num_seq"),
        (b'{"latency": {"ttft": 3}}', "ttft"),
        (b'{"latency": {"inter_token_latency_s": 0}}', "inter_token_latency_s"),
        (b'{"max_num_seqs": "many"}', "max_num_seqs"),
        (b'{"failure_types": ["flood"]}', "failure_types"),
        (b'{"replicas": 9}', "replicas"),
        (b'{"models": [{"name": "new"}]}', "models"),
        (b'{"drift": [{"at_s": 1, "model": "nobody"}]}', "nobody"),
        (b'{"natural_output_tokens": [9, 3]}', "natural_output_tokens"),
        (b"[]", "object"),
        (b"{", "truncated"),
    ],
)
def test_a_wrong_patch_is_refused_and_says_why(patch: bytes, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        patched(LlmdSettings(), patch)


def test_drifts_of_a_model_come_in_time_order_and_change_what_they_name() -> None:
    late = Drift(at_s=9, model="sim-small", time_factor_under_load=4.0)
    early = Drift(at_s=1, inter_token_latency_s=0.5)
    settings = LlmdSettings(drift=(late, early))
    assert settings.drift_of("sim-small") == [early, late]
    assert settings.drift_of("sim-large") == [early]
    assert early.applied_to(Latency()) == Latency(inter_token_latency_s=0.5)


def test_settings_survive_json() -> None:
    settings = LlmdSettings(drift=(Drift(at_s=1, inter_token_latency_s=0.5),))
    assert msgspec.json.decode(msgspec.json.encode(settings), type=LlmdSettings) == settings
