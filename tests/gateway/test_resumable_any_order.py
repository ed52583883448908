"""Any sequence of faults, at engines that all say the same text and continue it when they are asked to: retries,
fallbacks, hedges and resumes together, over pools with several endpoints. Virtual time."""

import asyncio
import itertools

import looptime
import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.dialect import WireRequest
from adapters.transport import ResponseSink
from contracts.catalog import Catalog
from contracts.errors import GatewayError, StreamBroken
from contracts.events import End, Fault
from contracts.inference import Resume, RoutingPlan, Target, Timeouts
from gateway.executor import Executor
from gateway.going_on import MAX_RESUMES
from gateway.pools import Pool
from gateway.progress import AttemptRecord, Progress
from tests.fakes.recorder import Remembering
from tests.fakes.scripted import (
    DONE,
    USAGE,
    Played,
    Script,
    ScriptedTransport,
    broken,
    chunk,
    data,
    head,
    refusal,
    unreachable,
)
from tests.gateway.conftest import MakePool
from tests.gateway.test_executor import Listening, request

TEXT = "The quick  brown fox\njumps over the lazy dog. "
ENGINES = ("vllm", "llamacpp", "openai")
"""The first continues, the second repeats what it continues, the third is not asked to."""


class Fate:
    """What becomes of one attempt: how many pieces it says, how slowly, and what then."""

    def __init__(self, pieces: int, gap_s: int, then: str) -> None:
        self.pieces, self.gap_s, self.then = pieces, gap_s, then

    def __repr__(self) -> str:
        return f"{self.then} after {self.pieces} pieces, one in {self.gap_s} s"


fates = st.builds(
    Fate,
    st.integers(0, 8),
    st.sampled_from([0, 0, 1, 3]),
    st.sampled_from(["ends", "ends", "dies", "stalls", "garbles", "503", "429", "500", "nobody"]),
)


class Speaker(ScriptedTransport):
    """Says TEXT, or what is left of it, as its next fate allows; the last one stays."""

    def __init__(self, engine: str, fates: list[Fate], cut: int) -> None:
        super().__init__([])
        self._engine, self._fates, self._cut = engine, fates, cut

    def start(self, asked: WireRequest, sink: ResponseSink) -> Played:
        fate = self._fates.pop(0) if len(self._fates) > 1 else self._fates[0]
        last = msgspec.json.decode(asked.body)["messages"][-1]
        said = TEXT
        if last["role"] == "assistant":
            assert TEXT.startswith(last["content"]), "what the client has is what is continued"
            if self._engine != "llamacpp":
                said = TEXT[len(last["content"]) :]
        self._scripts = [self._script(fate, said)]
        return super().start(asked, sink)

    def _script(self, fate: Fate, said: str) -> Script:
        match fate.then:
            case "503" | "429" | "500":
                return refusal(int(fate.then), b'{"error":{"message":"no"}}')
            case "nobody":
                return unreachable()
        pieces = [said[at : at + self._cut] for at in range(0, len(said), self._cut)]
        whole = fate.then == "ends"
        told = pieces if whole else pieces[: fate.pieces]
        steps = [head(0.1)]
        at_s = 0.2
        for piece in told:
            steps.append(data(at_s, chunk({"content": piece})))
            at_s += fate.gap_s or 0.01
        match fate.then:
            case "ends":
                steps.append(data(at_s, chunk({}, finish="stop") + USAGE + DONE))
            case "dies":
                steps.append(broken(at_s, StreamBroken("gone", fault="stream_broken")))
            case "garbles":
                steps.append(data(at_s, b"data: {nothing\n\n" + chunk({"content": "lost"})))
        return steps


def overlaps(attempts: list[AttemptRecord]) -> int:
    """The most that ran at one moment."""
    told = [(a.dispatched_s, 1) for a in attempts] + [(a.ended_s, -1) for a in attempts]
    edges = sorted((at_s or 0.0, step) for at_s, step in told)
    return max(itertools.accumulate((step for _, step in edges), initial=0))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    pools=st.lists(
        st.tuples(
            st.sampled_from(ENGINES),
            st.lists(st.lists(fates, min_size=1, max_size=3), min_size=1, max_size=2),
        ),
        min_size=1,
        max_size=3,
    ),
    resume=st.sampled_from(["off", "replay", "continue"]),
    hedge_after_s=st.sampled_from([None, 1.0, 2.0]),
    retries=st.integers(0, 2),
    cut=st.integers(1, 7),
    keeps_back=st.booleans(),
)
def test_the_client_reads_a_beginning_of_the_text_and_all_of_it_if_it_ends(
    make_pool: MakePool,
    pools: list[tuple[str, list[list[Fate]]]],
    resume: Resume,
    hedge_after_s: float | None,
    retries: int,
    cut: int,
    keeps_back: bool,
) -> None:
    async def play() -> None:
        loop = asyncio.get_running_loop()
        made: list[Pool] = []
        speakers: list[Speaker] = []
        for number, (engine, endpoints) in enumerate(pools):
            mine = [Speaker(engine, list(given), cut) for given in endpoints]
            speakers += mine
            limits = Timeouts(first_token_s=5, idle_s=8, total_s=60, min_tokens_per_s=0.5)
            made.append(
                make_pool(f"p{number}", *mine, engine=engine, retries=retries, timeouts=limits)
            )
        plan = RoutingPlan(
            targets=tuple(
                Target(model=p.id, pool=p.id, upstream="m", prefill=p.engine != "openai")
                for p in made
            ),
            resume=resume,
            hedge_after_s=hedge_after_s,
        )
        executor = Executor(
            {pool.id: pool for pool in made}, draw=lambda: 0.5, new_id=str, clock=loop.time
        )
        sink, progress = Listening(keeps_back=keeps_back), Progress(accepted_s=loop.time())
        error: GatewayError | None = None
        try:
            asked = request(max_tokens=50)
            await executor.infer(asked, plan, Catalog(), sink, progress, Remembering())
        except GatewayError as exc:
            error = exc
        await asyncio.sleep(2)

        assert all(pool.signals().inflight == 0 for pool in made), "every place is given back"
        assert all(pool.signals().queued == 0 for pool in made)
        hedged = 1 if hedge_after_s is None else 2
        bound = hedged * len(made) * (1 + retries) + MAX_RESUMES
        assert sum(len(speaker.requests) for speaker in speakers) <= bound
        assert len(progress.attempts) <= bound
        assert overlaps(progress.attempts) <= hedged
        for attempt in progress.attempts:
            assert attempt.dispatched_s is not None
            assert attempt.ended_s is not None
            first_s = attempt.first_token_s or attempt.dispatched_s
            assert progress.accepted_s <= attempt.dispatched_s <= first_s <= attempt.ended_s
        endings = [event for event in sink.seen if isinstance(event, End | Fault)]
        if error is not None:
            assert keeps_back or sink.text == ""
            return
        assert endings == [sink.seen[-1]], "one, and nothing after it"
        assert TEXT.startswith(sink.text)
        if isinstance(endings[0], End):
            assert sink.text == TEXT
            assert progress.fault is None
            assert any(attempt.fault is None for attempt in progress.attempts)
        else:
            assert progress.fault is not None
            assert not keeps_back

    with asyncio.Runner(loop_factory=looptime.new_event_loop) as runner:
        runner.run(play())
