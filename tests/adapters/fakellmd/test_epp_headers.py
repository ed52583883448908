"""The picker's headers: canonical names and aliases, what each value means, and what goes no further."""

from collections.abc import Mapping

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.fakellmd.epp_headers import Wants, go_duration_s, read, rewritten, stripped
from adapters.fakellmd.epp_settings import EppSettings

pytestmark = pytest.mark.req("INT-9")
PAIRS = {
    "objective": ("x-llm-d-inference-objective", "x-gateway-inference-objective"),
    "fairness_id": ("x-llm-d-inference-fairness-id", "x-gateway-inference-fairness-id"),
    "ttft_deadline_ms": ("x-llm-d-slo-ttft-ms", "x-slo-ttft-ms"),
    "tpot_slo_s": ("x-llm-d-slo-tpot-ms", "x-slo-tpot-ms"),
    "model_rewrite": ("x-llm-d-model-name-rewrite", "x-gateway-model-name-rewrite"),
}
CONTROL = [
    *(name for pair in PAIRS.values() for name in pair),
    *("x-llm-d-inference-ttl", "x-llm-d-request-dropped-reason"),
    *("x-llm-d-video-fps", "x-llm-d-video-duration-seconds", "x-llm-d-video-resolution"),
    *("x-gateway-destination-endpoint", "x-gateway-destination-endpoint-subset"),
    *("x-gateway-destination-endpoint-served", "x-gateway-destination-endpoint-scores"),
]


def wants(headers: Mapping[str, str], **settings: object) -> Wants:
    return read(headers, msgspec.convert(settings, EppSettings))


@pytest.mark.parametrize("member", PAIRS)
def test_the_canonical_name_wins_over_its_alias(member: str) -> None:
    canonical, alias = PAIRS[member]
    seen = [
        getattr(wants(headers), member)
        for headers in ({canonical: "7"}, {alias: "7"}, {canonical: "7", alias: "9"}, {alias: "9"})
    ]
    assert seen[0] == seen[1] == seen[2] != seen[3]


@pytest.mark.parametrize("member", PAIRS)
def test_an_empty_canonical_header_still_hides_its_alias(member: str) -> None:
    canonical, alias = PAIRS[member]
    assert getattr(wants({canonical: "", alias: "9"}), member) == getattr(wants({}), member)


def test_without_headers_a_request_wants_nothing() -> None:
    assert wants({}) == Wants()
    assert Wants().fairness_id == "default-flow"


@pytest.mark.parametrize(
    ("text", "deadline_ms", "slo_s"),
    [
        ("800", 800, 0.8),
        (" 800 ", 800, 0.0),  # the ordering trims it, the admitter does not
        ("0", 0, 0.0),
        ("12.5", None, 0.0125),
        ("1e3", None, 1.0),
        ("-5", None, 0.0),
        ("soon", None, 0.0),
        ("1_000", None, 0.0),
        ("\u0667", None, 0.0),
        ("99999999999999999999", None, 99999999999999999.999),
        ("", None, 0.0),
    ],
)
def test_the_deadline_is_an_integer_and_the_slo_any_number(
    text: str, deadline_ms: int | None, slo_s: float
) -> None:
    got = wants({"x-llm-d-slo-ttft-ms": text, "x-llm-d-slo-tpot-ms": text})
    assert got.ttft_deadline_ms == deadline_ms
    assert got.ttft_slo_s == got.tpot_slo_s == pytest.approx(slo_s)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2s", 2.0),
        (" 850ms ", 0.85),
        ("1m30s", 90.0),
        ("1.5h", 5400.0),
        (".5s", 0.5),
        ("+2s", 2.0),
        ("7us", 7e-6),
        ("7µs", 7e-6),
        *(
            (wrong, None)
            for wrong in ("", "2", "soon", "0s", "-1s", "1s2", "9999999999h", "s", ".s")
        ),
    ],
)
def test_a_ttl_is_a_go_duration_that_is_positive(text: str, seconds: float | None) -> None:
    assert go_duration_s(text) == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize(("profile", "ttl_s"), [("v0.9", None), ("v0.10", None), ("main", 2.0)])
def test_the_ttl_header_is_read_by_main_only(profile: str, ttl_s: float | None) -> None:
    assert wants({"x-llm-d-inference-ttl": "2s"}, profile=profile).ttl_s == ttl_s


def test_the_session_of_a_coding_agent_names_the_flow_only_where_that_is_on() -> None:
    agent = {"session_id": "s2", "x-claude-code-session-id": "s1"}
    assert wants(agent).fairness_id == "default-flow"
    assert wants(agent, agent_identity=True).fairness_id == "s1"
    told = agent | {"x-llm-d-inference-fairness-id": "tenant"}
    assert wants(told, agent_identity=True).fairness_id == "tenant"


def test_prefer_is_a_list_and_only_one_of_its_words_matters() -> None:
    assert wants({"prefer": "respond-async, If-Available"}).if_available
    assert not wants({"prefer": "if-available-soon"}).if_available


@pytest.mark.parametrize("name", CONTROL)
def test_no_control_header_reaches_a_pod(name: str) -> None:
    assert stripped({name: "1", "x-request-id": "r", "x-return-error": "503"}) == {
        "x-request-id": "r",
        "x-return-error": "503",
    }


names = st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=12)


@given(st.dictionaries(st.one_of(names, st.sampled_from(CONTROL)), st.text(max_size=3)))
def test_stripping_takes_the_control_headers_and_nothing_else(headers: dict[str, str]) -> None:
    kept = stripped(headers)
    assert kept == {name: value for name, value in headers.items() if name not in CONTROL}


@given(st.dictionaries(st.sampled_from([*CONTROL, "prefer"]), st.text(max_size=30)))
def test_whatever_the_headers_hold_reading_them_never_fails(headers: dict[str, str]) -> None:
    got = wants(headers, profile="main", agent_identity=True)
    assert got.fairness_id
    assert got.ttft_slo_s >= 0
    assert got.ttl_s is None or got.ttl_s > 0


def test_a_rewrite_changes_the_model_and_keeps_the_rest() -> None:
    body, named = rewritten(b'{"model":"a","n":1.50,"x":{"y":[1,2]}}', "b")
    assert msgspec.json.decode(body) == {"model": "b", "n": 1.5, "x": {"y": [1, 2]}}
    assert b"1.50" in body
    assert named == "a"
    assert rewritten(b'{"n":1}', "b") == (b'{"n":1,"model":"b"}', "")


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b'{"model":3}'])
def test_what_names_no_model_is_left_to_the_engine_to_complain_about(body: bytes) -> None:
    changed, named = rewritten(body, "b")
    assert named == ""
    assert changed in (body, b'{"model":"b"}')
