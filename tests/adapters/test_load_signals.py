"""A backend's own account of its load: what is read, what is not known, and pages that are anything."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.fakellmd.fleet import Fleet
from adapters.fakellmd.metrics import LlmdMetrics
from adapters.fakellmd.settings import LlmdSettings, ServedModel
from adapters.llamacpp import LlamaCppDialect
from adapters.llmd import LlmdDialect, VllmDialect
from adapters.load_signals import (
    LARGEST,
    LINE_BYTES,
    SAMPLES_MAX,
    UNKNOWN,
    LoadMetrics,
    LoadSignals,
    read_load,
    together,
)
from adapters.openai import OpenAIDialect
from adapters.tgi import TgiDialect

pytestmark = pytest.mark.req("INT-4")
NAMES = LoadMetrics(waiting=("w",), running=("r", "r_old"), kv_cache_usage=("k",))


def vllm(page: bytes) -> LoadSignals:
    names = VllmDialect().load_metrics()
    assert names is not None
    return read_load(page, names)


def test_the_fake_llmd_is_read_by_vllms_names() -> None:
    settings = LlmdSettings(models=(ServedModel(name="m"),), replicas=2)
    page = LlmdMetrics(Fleet(settings), lambda: 0.0, lambda: settings).render()
    assert vllm(page) == LoadSignals(waiting=0, running=0, kv_cache_usage=0.0)


def test_engines_behind_one_address_are_added_up_and_their_caches_are_a_mean() -> None:
    page = b"""# HELP vllm:num_requests_waiting Number of requests waiting.
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine="0",model_name="a}b \\" # x"} 3.0
vllm:num_requests_waiting{engine="1",model_name="m"} 4.0 1712345678901
vllm:num_requests_waiting_by_reason{engine="0",reason="capacity"} 99.0
vllm:num_requests_running{engine="0"} 1.6e+01
vllm:kv_cache_usage_perc{engine="0"} 0.25
vllm:kv_cache_usage_perc{engine="1"} 0.75
"""
    assert vllm(page) == LoadSignals(waiting=7, running=16, kv_cache_usage=0.5)


def test_the_name_of_today_goes_before_the_one_from_before() -> None:
    both = b"vllm:gpu_cache_usage_perc{} 0.9\nvllm:kv_cache_usage_perc{} 0.1\n"
    assert vllm(both).kv_cache_usage == 0.1
    assert vllm(both.splitlines()[0]).kv_cache_usage == 0.9


def test_each_engine_is_read_by_its_own_names() -> None:
    tgi, llamacpp = TgiDialect().load_metrics(), LlamaCppDialect().load_metrics()
    assert tgi is not None
    assert llamacpp is not None
    assert read_load(b"tgi_queue_size 5\ntgi_batch_current_size 2\n", tgi) == LoadSignals(
        waiting=5, running=2
    )
    page = b"llamacpp:requests_processing 4\nllamacpp:requests_deferred 1\n"
    assert read_load(page, llamacpp) == LoadSignals(waiting=1, running=4)
    assert LlmdDialect().load_metrics() is None
    assert OpenAIDialect().load_metrics() is None


@pytest.mark.parametrize(
    "page",
    [
        b"",
        b"w",
        b"w\n",
        b"w \n",
        b"w NaN\n",
        b"w +Inf\n",
        b"w -1\n",
        b"w 1e10\n",
        b"w{ 1\n"[:3],
        b"ww 1\n",
        b" w 1\n",
        b"# TYPE w 1\n",
        b"<html>w 1</html>",
        b"w 1\nw x\n",
        b"w " + b"1" * LINE_BYTES,
        b"w 1\n" * SAMPLES_MAX + b"w 1\n",
    ],
)
def test_what_is_no_number_to_go_by_is_not_known_and_never_zero(page: bytes) -> None:
    assert read_load(page, NAMES).waiting is None


def test_a_share_is_never_above_one() -> None:
    assert read_load(b"k 1.5\n", NAMES).kv_cache_usage == 1.0


VALUES = st.lists(st.integers(0, 10**6), min_size=1, max_size=5)
NOISE = st.lists(
    st.sampled_from([b"", b"# HELP w x", b"w_total 7", b'x{a="w 1"} 2', b"rr 3", b"\xff\xfe"]),
    max_size=6,
)
LABEL = st.text(st.sampled_from('ab} {,="#'), max_size=6)


@given(waiting=VALUES, running=VALUES, noise=NOISE, label=LABEL, data=st.data())
def test_the_wanted_lines_are_found_wherever_they_stand(
    waiting: list[int], running: list[int], noise: list[bytes], label: str, data: st.DataObject
) -> None:
    escaped = label.replace('"', '\\"').encode()
    lines = [b'w{l="%b"} %d' % (escaped, value) for value in waiting]
    lines += [b"r %d.0" % value for value in running]
    page = b"\n".join(data.draw(st.permutations([*lines, *noise])))
    assert read_load(page, NAMES) == LoadSignals(waiting=sum(waiting), running=sum(running))


@given(
    page=st.one_of(st.binary(max_size=200), st.text("wrk{} \n1.e-+#", max_size=80).map(str.encode))
)
def test_any_page_is_read_without_a_fault(page: bytes) -> None:
    load = read_load(page, NAMES)
    for count in (load.waiting, load.running):
        assert count is None or 0 <= count <= SAMPLES_MAX * LARGEST
    assert load.kv_cache_usage is None or 0 <= load.kv_cache_usage <= 1


def test_a_pool_knows_only_what_each_of_its_endpoints_tells() -> None:
    one = LoadSignals(waiting=1, running=2, kv_cache_usage=0.2)
    other = LoadSignals(waiting=3, running=None, kv_cache_usage=0.6)
    assert together([]) == UNKNOWN
    assert together([one]) == one
    assert together([one, other]) == LoadSignals(waiting=4, kv_cache_usage=0.4)
    assert together([one, UNKNOWN]) == UNKNOWN
