"""The sixteen faults: what a provider does, and what its clients must get. See docs/faults.md.

Each case sets the scene, asks, asserts, and returns in a few words what happened. All of them run in both timing
profiles, streamed and not.
"""

import asyncio
from collections.abc import Awaitable, Callable

import looptime
import msgspec

from contracts.errors import StreamBroken, UpstreamFault
from tests.fakes.scripted import Script, broken, chunk, data, end, head, refusal
from tests.faults.stage import GAP_S, TEXT, USAGE, WORDS, Answer, Stage, begun, healthy

Play = Callable[[Stage], Awaitable[str]]


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """`main` and `spare` are members of the two pools that this case needs, beside the profile's."""

    id: str
    does: str
    play: Play
    main: str = ""
    spare: str = ""


class Result(msgspec.Struct, kw_only=True):
    """`happened` and `attempts` (at the primary + at the fallback); `problem` where it did not survive."""

    happened: str = ""
    attempts: str = ""
    problem: str | None = None


CASES: list[Case] = []


def case(number: str, does: str, *, main: str = "", spare: str = "") -> Callable[[Play], Play]:
    def add(play: Play) -> Play:
        CASES.append(Case(id=number, does=does, play=play, main=main, spare=spare))
        return play

    return add


def run(case: Case, profile: str, *, stream: bool) -> Result:
    """One case on a stage of its own, in virtual time. Raises AssertionError if it was not survived."""

    async def play() -> Result:
        main = case.main if profile == "shipped" else ""  # the baseline has all limits already
        stage = Stage(profile, stream=stream, main=main, spare=case.spare)
        happened = await case.play(stage)
        attempts = stage.attempts
        await stage.aclose()
        return Result(happened=happened, attempts=attempts)

    with asyncio.Runner(loop_factory=looptime.new_event_loop) as runner:
        return runner.run(play())


# -- what providers say when they refuse ----------------------------------------------------


def says(status: int, message: str, code: str | None = None, **headers: str) -> Script:
    body = {"error": {"message": message, "type": "x", "param": None, "code": code}}
    return refusal(status, msgspec.json.encode(body), **headers)


BUSY = says(503, "the provider is overloaded")
CUT = StreamBroken("the connection is gone", fault="stream_broken")


def dies_after(words: int) -> Script:
    return [*begun(words), broken(0.1 + GAP_S * words, CUT)]


def early(stage: Stage, within_s: float) -> int:
    """Attempts at the primary within so long of the first."""
    return sum(at_s - stage.main.started_s[0] < within_s for at_s in stage.main.started_s)


def faults(answer: Answer) -> list[str | None]:
    return [attempt.fault for attempt in answer.progress.attempts]


# -- the sixteen ------------------------------------------------------------------------------


@case("F01", "answers 429 with `Retry-After: 2`, then is healthy")
async def rate_limited_once(stage: Stage) -> str:
    stage.main.plays(says(429, "slow down", retry_after="2"), healthy())
    answer = await stage.ask()
    answer.is_whole(by="main")
    first_s, again_s = stage.main.started_s
    assert again_s - first_s >= 1.8
    assert early(stage, 1.5) <= 2
    assert stage.spare.requests == []
    return f"asked again after {again_s - first_s:.1f} s"


@case("F02", "answers 429 for ever, without `Retry-After`")
async def rate_limited(stage: Stage) -> str:
    stage.main.plays(says(429, "slow down"))
    answer = await stage.ask()
    answer.is_whole(by="spare")
    assert early(stage, 3) <= 4
    assert len(stage.main.requests) <= 6
    gaps = [b - a for a, b in zip(stage.main.started_s, stage.main.started_s[1:], strict=False)]
    assert all(gap > 0.01 for gap in gaps), "it backs off"
    return "backed off, then the fallback"


@case("F03", "answers 500 once, then is healthy")
async def fails_once(stage: Stage) -> str:
    stage.main.plays(says(500, "oops"), healthy())
    answer = await stage.ask()
    answer.is_whole(by="main")
    assert (len(stage.main.requests), len(stage.spare.requests)) == (2, 0)
    return "asked again"


@case("F04", "answers 503 for ever")
async def unavailable(stage: Stage) -> str:
    stage.main.plays(BUSY)
    answer = await stage.ask()
    answer.is_whole(by="spare")
    assert len(stage.main.requests) <= 6
    tried = len(stage.main.requests)
    alone = await stage.ask("alone")
    assert alone.error is not None, "with nowhere to go it is an error"
    assert (alone.status, alone.text, alone.endings) == (503, "", 1)
    assert alone.error["message"] == "the provider is overloaded", "the provider's own"
    assert len(stage.main.requests) - tried <= 6
    return "the fallback; without one, the provider's own 503"


@case("F05", "resets the connection before any byte, then is healthy")
async def resets_once(stage: Stage) -> str:
    reset = UpstreamFault("the connection was closed without an answer", fault="unavailable")
    stage.main.plays([broken(0.01, reset)], healthy())
    answer = await stage.ask()
    answer.is_whole(by="main")
    assert len(stage.main.requests) == 2
    return "asked again"


@case("F06", "accepts and never answers")
async def is_silent(stage: Stage) -> str:
    stage.main.plays([])
    answer = await stage.ask()
    answer.is_whole(by="spare")
    assert len(stage.main.requests) == 1, "the silent route is not asked again"
    assert answer.took_s <= (62 if stage.profile == "shipped" else 12)
    waited_s = stage.spare.started_s[0] - stage.main.started_s[0]
    return f"the fallback after {waited_s:.0f} s"


@case(
    "F07",
    "sends headers at once and its first token after 20 s",
    main="timeouts: {first_token: 10s}",
)
async def is_slow_to_begin(stage: Stage) -> str:
    stage.main.plays([*begun(60, start_s=20.0), data(22.0, chunk({}, finish="stop") + USAGE)])
    answer = await stage.ask()
    answer.is_whole(by="spare")
    assert stage.spare.started_s[0] - stage.main.started_s[0] < 15
    assert stage.main.exchanges[0].cancelled_at_s is not None
    began = len(stage.main.requests)
    alone = await stage.ask("alone")  # the limit is never armed on the last attempt
    assert (alone.text, alone.error) == (TEXT, None)
    assert len(stage.main.requests) == began + 1
    return f"the fallback answered after {answer.first_s or 0:.1f} s"


@case("F08", "dies after 40 of 60 tokens")
async def dies(stage: Stage) -> str:
    stage.main.plays(dies_after(40))
    answer = await stage.ask()
    answer.is_whole(by="main" if stage.stream else "spare")
    assert faults(answer)[-1] is None
    assert len(stage.main.requests) <= 3
    return "gone on with by the fallback"


@case("F09", "goes silent after 20 tokens for 30 s, then closes")
async def stalls(stage: Stage) -> str:
    stage.main.plays([*begun(20), broken(0.1 + GAP_S * 20 + 30, CUT)])
    answer = await stage.ask()
    answer.is_whole(by="main" if stage.stream else "spare")
    assert answer.took_s < 35
    noticed_s = stage.main.exchanges[0].cancelled_at_s or 30.5
    assert noticed_s <= 31
    stage.main.plays(healthy())
    after = await stage.ask()
    after.is_whole(by="main")  # it stays healthy
    return f"whole after {answer.took_s:.0f} s"


@case("F10", "sends broken JSON as the tenth event of its stream")
async def garbles(stage: Stage) -> str:
    garbled = [*begun(8), data(0.1 + GAP_S * 8, b'data: {"choices":[{"index":0,"delta":{"con\n\n')]
    stage.main.plays([*garbled, data(0.4, chunk({"content": "lost "})), end(0.5)])
    answer = await stage.ask()
    answer.is_whole(by="main" if stage.stream else "spare")
    assert "lost" not in answer.text
    return "gone on with by the fallback"


@case("F11", "sends a whole stream without `[DONE]`, and does not close")
async def forgets_to_end(stage: Stage) -> str:
    last_s = 0.1 + GAP_S * 60
    stage.main.plays([*begun(60), data(last_s, chunk({}, finish="stop") + USAGE)])
    answer = await stage.ask()
    answer.is_whole(by="main")
    assert answer.took_s < last_s + 0.1, "it ends at once"
    assert len(stage.main.requests) == 1
    return "ended at once, with usage and its own `[DONE]`"


@case("F12", "answers 400 `context_length_exceeded`")
async def is_too_small(stage: Stage) -> str:
    stage.main.plays(says(400, "maximum context length is 8192", "context_length_exceeded"))
    answer = await stage.ask()
    answer.is_whole(by="spare")  # which has more context
    assert len(stage.main.requests) == 1
    twins = await stage.ask("twins")  # whose other one has not
    assert (twins.status, twins.text, twins.endings) == (400, "", 1)
    assert twins.error is not None
    assert twins.error["code"] == "context_length_exceeded"
    assert (len(stage.main.requests), len(stage.spare.requests)) == (2, 1)
    return "a model with more context; without one, the error after one attempt"


@case("F13", "answers 400 `content_policy_violation`")
async def refuses_the_content(stage: Stage) -> str:
    stage.main.plays(says(400, "this is against our policy", "content_policy_violation"))
    answer = await stage.ask()
    assert answer.error is not None
    assert (answer.status, answer.endings, answer.text) == (400, 1, "")
    assert answer.error["code"] == "content_policy_violation"
    assert answer.error["message"] == "this is against our policy"
    assert (len(stage.main.requests), len(stage.spare.requests)) == (1, 0)
    return "the provider's reason, after one attempt"


@case("F14", "dies after 40 tokens; the fallback refuses a trailing assistant message")
async def dies_before_a_picky_one(stage: Stage) -> str:
    stage.main.plays(dies_after(40))
    stage.spare.refuses_prefill = says(400, "must not end with an assistant message")
    answer = await stage.ask()
    answer.is_whole(by="main" if stage.stream else "spare")
    assert stage.spare.prefilled == 0, "what it cannot do it is not asked"
    return "gone on with by the fallback, which was not shown the text"


@case("F15", "answers 503 for 60 s, then is healthy; 20 requests, 4 s apart")
async def recovers(stage: Stage) -> str:
    stage.main.plays(BUSY)
    loop = asyncio.get_running_loop()
    start_s, served = loop.time(), []
    for number in range(20):
        await asyncio.sleep(start_s + 4 * number - loop.time())
        if number == 15:
            stage.main.plays(healthy())
        answer = await stage.ask()
        assert answer.progress.target is not None
        served.append(answer.progress.target.model)
        answer.is_whole(by=served[-1])
    asked_s = [at_s - start_s for at_s in stage.main.started_s]
    back_s = 4 * served.index("main") - 60
    assert 0 <= back_s <= 30, "the primary is used again soon"
    assert set(served[:15]) == {"spare"}
    assert sum(at_s < 10 for at_s in asked_s) <= 6, "the circuit opens"
    probes = sum(10 <= at_s < 60 for at_s in asked_s)
    assert probes <= 4, f"{probes} probes"
    return f"{probes} probes in the outage; used again {back_s} s after it"


@case("F16", "answers 503 for ever; the fallback answers")
async def falls_back(stage: Stage) -> str:
    stage.main.plays(BUSY)
    answer = await stage.ask()
    answer.is_whole(by="spare")  # named, counted and priced as the fallback's
    *failed, last = answer.progress.attempts
    assert last.target.model == "spare"
    assert all(attempt.target.model == "main" for attempt in failed)
    assert all(attempt.usage is None for attempt in failed), "failed attempts cost nothing"
    return f"answered, counted and priced as `spare`'s: {answer.usd:.6f} USD"


assert len(CASES) == 16
assert len(WORDS) == 60
__all__ = ["CASES", "Case", "Result", "head", "run"]
