"""A stream that breaks after content: gone on with by another attempt, without a lie, or ended with an error."""

import asyncio

import looptime
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.catalog import Catalog
from contracts.errors import GatewayError, StreamBroken, UpstreamFault
from contracts.events import End, Event, Fault, Finish, UsageReport
from contracts.inference import InferRequest, Resume, RoutingPlan, Target, Timeouts
from gateway.executor import Executor
from gateway.going_on import MAX_RESUMES
from gateway.intake import read_request
from gateway.pools import Pool
from gateway.progress import Progress
from gateway.resumable import may_resume
from tests.fakes.recorder import Remembering
from tests.fakes.scripted import (
    DONE,
    USAGE,
    Script,
    ScriptedTransport,
    answer,
    broken,
    chunk,
    data,
    head,
    refusal,
    unreachable,
)
from tests.gateway.conftest import MakePool
from tests.gateway.test_executor import Listening

pytestmark = [pytest.mark.looptime, pytest.mark.req("RUN-5", "RUN-7")]

WORDS = ("The ", "quick ", "brown ", "fox ", "jumps.")


def dies_after(count: int, words: tuple[str, ...] = WORDS) -> Script:
    """Headers, `count` words, and then the connection is gone."""
    steps = [
        head(0.1),
        *(data(0.2 + i / 10, chunk({"content": w})) for i, w in enumerate(words[:count])),
    ]
    return [*steps, broken(0.2 + count / 10, StreamBroken("it is gone", fault="stream_broken"))]


def request(**fields: object) -> InferRequest:
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], **fields}
    return read_request(msgspec.json.encode(body), "chat", request_id="req_1", key="", headers={})


async def run(
    *pools: Pool,
    resume: Resume = "replay",
    prefill: tuple[bool, ...] = (),
    infer: InferRequest | None = None,
    sink: Listening | None = None,
) -> tuple[Listening, Progress]:
    sink, loop = sink or Listening(), asyncio.get_running_loop()
    executor = Executor(
        {p.id: p for p in pools}, draw=lambda: 1.0, new_id=lambda: "call_1", clock=loop.time
    )
    able = prefill or (False,) * len(pools)
    targets = tuple(
        Target(model=f"m{i}", pool=p.id, upstream=f"up{i}", prefill=able[i])
        for i, p in enumerate(pools)
    )
    progress = Progress(accepted_s=loop.time())
    plan = RoutingPlan(targets=targets, resume=resume)
    await executor.infer(infer or request(), plan, Catalog(), sink, progress, Remembering())
    return sink, progress


def terminals(events: list[Event]) -> list[Event]:
    return [e for e in events if isinstance(e, End | Fault)]


async def test_the_client_reads_one_seamless_stream(make_pool: MakePool) -> None:
    pool = make_pool("a", ScriptedTransport(dies_after(3), answer(WORDS)))
    sink, progress = await run(pool)
    assert sink.text == "".join(WORDS)
    assert [type(e) for e in sink.seen[-3:]] == [Finish, UsageReport, End]
    assert len(terminals(sink.seen)) == 1
    assert [record.fault for record in progress.attempts] == ["upstream_stream_broken", None]
    assert progress.fault is None
    assert progress.first_token_s == pytest.approx(0.2), (
        "the client's first token, not the second attempt's"
    )


async def test_without_resume_it_ends_with_the_error(make_pool: MakePool) -> None:
    transport = ScriptedTransport(dies_after(3), answer(WORDS))
    sink, progress = await run(make_pool("a", transport), resume="off")
    assert sink.text == "The quick brown "
    assert isinstance(sink.seen[-1], Fault)
    assert isinstance(progress.fault, StreamBroken)
    assert len(transport.requests) == 1


async def test_another_text_is_never_mixed_in(make_pool: MakePool) -> None:
    other = ScriptedTransport(answer(("The ", "quick ", "red ", "fox")))
    sink, progress = await run(
        make_pool("a", ScriptedTransport(dies_after(3)), retries=0), make_pool("b", other)
    )
    assert sink.text == "The quick brown "
    assert terminals(sink.seen) == [sink.seen[-1]]
    assert isinstance(progress.fault, StreamBroken)
    assert other.exchanges[0].cancelled_at_s is not None, "the engine does not go on for nobody"


async def test_a_target_that_can_continues_from_exactly_there(make_pool: MakePool) -> None:
    able = ScriptedTransport(answer((" fox ", "jumps.")))
    sink, progress = await run(
        make_pool("a", ScriptedTransport(dies_after(3))),
        make_pool("b", able, engine="vllm"),
        resume="continue",
        prefill=(False, True),
        infer=request(max_tokens=10),
    )
    assert sink.text == "".join(WORDS)
    asked = msgspec.json.decode(able.requests[0].body)
    assert asked["messages"][-1] == {"role": "assistant", "content": "The quick brown"}, (
        "without the blank: it is the beginning of what comes next"
    )
    assert asked["continue_final_message"] is True
    assert asked["add_generation_prompt"] is False
    assert asked["max_tokens"] == 7, "three pieces were sent already"
    (usage,) = [e.usage for e in sink.seen if isinstance(e, UsageReport)]
    assert usage.completion_tokens == 5, "the whole answer's, as its client sees it"
    assert progress.usage == usage


async def test_blanks_that_an_engine_was_not_shown_are_not_said_twice(make_pool: MakePool) -> None:
    for said, whole in (((" ", "fox jumps."), True), (("fox jumps.",), False)):
        sink, progress = await run(
            make_pool("a", ScriptedTransport(dies_after(3)), retries=0),
            make_pool("b", ScriptedTransport(answer(said), refusal(503)), engine="vllm"),
            resume="continue",
            prefill=(False, True),
        )
        assert sink.text == ("".join(WORDS) if whole else "The quick brown ")
        assert progress.attempts[1].fault == (None if whole else "resume_diverged")


async def test_an_engine_that_says_again_what_it_continues_is_heard_from_there(
    make_pool: MakePool,
) -> None:
    """llama.cpp begins its answer with the last message that it was given."""
    able = ScriptedTransport(answer(("The quick brown", " fox ", "jumps.")))
    sink, _ = await run(
        make_pool("a", ScriptedTransport(dies_after(3))),
        make_pool("b", able, engine="llamacpp"),
        resume="continue",
        prefill=(False, True),
    )
    assert sink.text == "".join(WORDS)


@pytest.mark.parametrize("otherwise", [("The quick brown", ", red "), ("The quick brown, red",)])
async def test_blanks_that_do_not_come_by_themselves_are_shown_to_who_keeps_them(
    make_pool: MakePool, otherwise: tuple[str, ...]
) -> None:
    """Tokens begin with a blank, so it is not shown at first; but the client has it, whatever comes next."""
    able = ScriptedTransport(answer(otherwise), answer(("The quick brown ", "fox ", "jumps.")))
    sink, progress = await run(
        make_pool("a", ScriptedTransport(dies_after(3)), retries=0),
        make_pool("b", able, engine="llamacpp"),
        resume="continue",
        prefill=(False, True),
    )
    assert sink.text == "".join(WORDS)
    assert [a.fault for a in progress.attempts][1:] == ["resume_diverged", None]
    shown = [msgspec.json.decode(asked.body)["messages"][-1]["content"] for asked in able.requests]
    assert shown == ["The quick brown", "The quick brown "]


async def test_a_prompt_is_continued_with_its_blanks_where_they_do_not_come(
    make_pool: MakePool,
) -> None:
    able = ScriptedTransport(answer(("fox jumps.",)), answer(("fox ", "jumps.")))
    body = msgspec.json.encode({"model": "m", "prompt": "Say: "})
    sink, _ = await run(
        make_pool("a", ScriptedTransport(dies_after(3)), retries=0),
        make_pool("b", able, engine="vllm"),
        resume="continue",
        prefill=(False, True),
        infer=read_request(body, "completion", request_id="r", key="", headers={}),
    )
    assert sink.text == "".join(WORDS)
    shown = [msgspec.json.decode(asked.body)["prompt"] for asked in able.requests]
    assert shown == ["Say: The quick brown", "Say: The quick brown "]


async def test_who_says_something_else_is_not_asked_again_for_a_blank(make_pool: MakePool) -> None:
    able = ScriptedTransport(answer(("The quick red",)), refusal(503))
    _, progress = await run(
        make_pool("a", ScriptedTransport(dies_after(3), refusal(503)), retries=0),
        make_pool("b", able, engine="llamacpp", retries=0),
        resume="continue",
        prefill=(False, True),
    )
    asked = [msgspec.json.decode(request.body)["messages"][-1] for request in able.requests]
    assert [message["content"] for message in asked].count("The quick brown ") == 0
    assert progress.fault is not None


async def test_an_answer_that_nobody_could_go_on_with_counts_as_far_as_it_came(
    make_pool: MakePool,
) -> None:
    sink, progress = await run(
        make_pool("a", ScriptedTransport(dies_after(3)), retries=0),
        make_pool("b", ScriptedTransport(answer(("Otherwise",)))),
    )
    assert sink.text == "The quick brown "
    assert progress.target is not None
    assert progress.target.pool == "a", "what the client has is of the first"
    assert progress.usage is not None
    assert (progress.usage.completion_tokens, progress.usage.estimated) == (3, True)
    assert progress.finish_reasons == []
    assert [a.fault for a in progress.attempts][2] == "resume_diverged"


async def test_a_stream_that_crawls_is_gone_on_with_elsewhere(make_pool: MakePool) -> None:
    crawls = answer(WORDS * 6, start_s=1, gap_s=1)
    first = ScriptedTransport(crawls)
    sink, progress = await run(
        make_pool("a", first, timeouts=Timeouts(min_tokens_per_s=2)),
        make_pool("b", ScriptedTransport(answer(WORDS * 6))),
    )
    assert sink.text == "".join(WORDS * 6)
    assert [r.fault for r in progress.attempts] == ["upstream_too_slow", None]
    assert first.exchanges[0].cancelled_at_s == pytest.approx(11)


async def test_a_pool_where_nobody_is_there_is_passed_over(make_pool: MakePool) -> None:
    sink, progress = await run(
        make_pool("a", ScriptedTransport(dies_after(3)), retries=0),
        make_pool("b", ScriptedTransport(answer(WORDS)), ready=False),
        make_pool("c", ScriptedTransport(answer(WORDS))),
    )
    assert sink.text == "".join(WORDS)
    assert [r.target.pool for r in progress.attempts] == ["a", "a", "c"]


async def test_a_refused_continuation_is_never_seen(make_pool: MakePool) -> None:
    """F14: the fallback takes no trailing assistant message."""
    refuses = b'{"error":{"message":"must not end with an assistant message","type":"invalid_request_error"}}'
    sink, progress = await run(
        make_pool("a", ScriptedTransport(dies_after(3))),
        make_pool("b", ScriptedTransport(refusal(400, refuses), answer(WORDS))),
        resume="continue",
        prefill=(False, True),
    )
    assert sink.text == "".join(WORDS), "it could still say the same again"
    assert progress.fault is None
    assert [r.status for r in progress.attempts] == [None, 400, None, None]


async def test_a_refused_continuation_is_not_the_error_that_is_told(make_pool: MakePool) -> None:
    refuses = b'{"error":{"message":"must not end with an assistant message"}}'
    sink, progress = await run(
        make_pool("a", ScriptedTransport(dies_after(3), refusal(400, refuses)), retries=0),
        resume="continue",
        prefill=(True,),
    )
    assert isinstance(progress.fault, StreamBroken)
    last = sink.seen[-1]
    assert isinstance(last, Fault)
    assert "assistant" not in last.error.message


async def test_where_continuing_fails_the_text_is_said_again(make_pool: MakePool) -> None:
    sink, _ = await run(
        make_pool("a", ScriptedTransport(dies_after(3), refusal(500), answer(WORDS)), retries=0),
        resume="continue",
        prefill=(True,),
    )
    assert sink.text == "".join(WORDS)


async def test_a_stream_that_breaks_again_is_gone_on_with_again(make_pool: MakePool) -> None:
    first = ScriptedTransport(dies_after(2), dies_after(4))
    sink, progress = await run(
        make_pool("a", first), make_pool("b", ScriptedTransport(answer(WORDS)))
    )
    assert sink.text == "".join(WORDS)
    assert len(progress.attempts) == 3


async def test_attempts_to_go_on_are_bounded(make_pool: MakePool) -> None:
    transports = [ScriptedTransport(dies_after(3)) for _ in range(6)]
    pools = [make_pool(f"p{i}", t, retries=0) for i, t in enumerate(transports)]
    sink, _ = await run(*pools)
    assert sum(len(t.requests) for t in transports) == 1 + MAX_RESUMES
    assert sink.text == "The quick brown "
    assert len(terminals(sink.seen)) == 1


async def test_a_refusal_of_the_content_is_not_shopped_around(make_pool: MakePool) -> None:
    error = UpstreamFault("not this", fault="content", status=400)
    script = [head(0.1), data(0.2, chunk({"content": "The "})), broken(0.3, error)]
    other = ScriptedTransport(answer(WORDS))
    sink, progress = await run(make_pool("a", ScriptedTransport(script)), make_pool("b", other))
    assert other.requests == []
    assert progress.fault is error
    assert isinstance(sink.seen[-1], Fault)


async def test_a_silent_stream_is_gone_on_with(make_pool: MakePool) -> None:
    """F09: twenty tokens, then nothing."""
    silent = [
        head(0.1),
        *(data(0.2 + i / 10, chunk({"content": w})) for i, w in enumerate(WORDS[:2])),
    ]
    pool = make_pool(
        "a",
        ScriptedTransport([*silent, data(400, DONE)], answer(WORDS)),
        timeouts=Timeouts(idle_s=3),
    )
    sink, progress = await run(pool)
    assert sink.text == "".join(WORDS)
    assert [r.fault for r in progress.attempts] == ["upstream_idle_timeout", None]


async def test_a_client_that_leaves_during_the_second_attempt_ends_it(make_pool: MakePool) -> None:
    transport = ScriptedTransport(dies_after(3), answer(WORDS, gap_s=5))
    pool = make_pool("a", transport)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(4):
            await run(pool)
    assert transport.exchanges[1].cancelled_at_s == pytest.approx(4)
    assert pool.signals().inflight == 0


def test_a_folded_answer_and_several_choices_are_not_resumed() -> None:
    plan = RoutingPlan(targets=(Target(model="m", pool="a", upstream="m"),), resume="replay")
    assert may_resume(request(), plan, Listening())
    assert not may_resume(request(), plan, Listening(keeps_back=True))
    assert not may_resume(request(n=2), plan, Listening())
    assert not may_resume(request(), msgspec.structs.replace(plan, resume="off"), Listening())


TEXTS = ("".join(WORDS), "The slow brown ", "The ", "")
"""What the engines below say when nothing happens to them. The empty answer is a whole one, too."""
faults = st.sampled_from(
    [
        refusal(500, b'{"error":{"message":"bug"}}'),
        refusal(503, b'{"error":{"message":"later"}}'),
        refusal(429, b'{"error":{"message":"slow down"}}', retry_after="1"),
        unreachable(),
        *(dies_after(n) for n in range(6)),
        dies_after(3, ("The ", "slow ", "brown ")),
        [head(0.1), data(0.2, chunk({"content": "The "})), data(0.3, b"data: {broken\n\n")],
        [head(0.1), data(90.0, DONE)],
        [head(0.1), data(0.2, chunk({"content": "The "})), data(500.0, DONE)],
        answer(WORDS),
        [
            head(0.1),
            *(data(0.2, chunk({"content": w})) for w in WORDS),
            data(0.3, chunk({}, finish="stop")),
        ],
        [head(0.1), data(0.2, chunk({}, finish="stop") + USAGE + DONE)],
    ]
)


@pytest.mark.looptime(False)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    scripts=st.lists(st.lists(faults, min_size=1, max_size=4), min_size=1, max_size=3),
    resume=st.sampled_from(["off", "replay", "continue"]),
    prefill=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    retries=st.integers(0, 2),
)
def test_whatever_fails_there_is_one_ending_and_no_token_is_repeated_or_lost(
    make_pool: MakePool,
    scripts: list[list[Script]],
    resume: Resume,
    prefill: tuple[bool, bool, bool],
    retries: int,
) -> None:
    async def play() -> None:
        transports = [ScriptedTransport(*played) for played in scripts]
        pools = [make_pool(f"p{i}", t, retries=retries) for i, t in enumerate(transports)]
        sink, error = Listening(), None
        try:
            _, progress = await run(*pools, resume=resume, prefill=prefill, sink=sink)
        except GatewayError as exc:
            error = exc
        await asyncio.sleep(2)  # connections may take a moment to end
        attempts = sum(len(t.requests) for t in transports)
        assert attempts <= len(pools) * (1 + retries) + MAX_RESUMES
        assert all(p.signals().inflight == 0 and p.signals().queued == 0 for p in pools)
        if error is not None:
            assert sink.text == ""
            assert terminals(sink.seen) == []
            return
        (last,) = terminals(sink.seen)
        assert last is sink.seen[-1]
        assert isinstance(last, Fault) == (progress.fault is not None)
        continues = resume == "continue" and any(prefill[: len(pools)])
        if not continues:  # a scripted engine that is asked to continue says all its words again
            assert any(text.startswith(sink.text) for text in TEXTS)
            if isinstance(last, End):
                assert sink.text in TEXTS

    with asyncio.Runner(loop_factory=looptime.new_event_loop) as runner:
        runner.run(play())
