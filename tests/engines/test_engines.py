"""The same scenarios through the gateway, in front of each real engine that is installed.

Nothing is asserted of what a small model says: only how it comes. One request at a time, for the same reason.
"""

import json
import time
from typing import Any

import openai
import pytest

from tests.engines.behind import COUNT, Behind
from tests.support.processes import eventually

pytestmark = pytest.mark.timeout(900)
UNICODE = "Grüße 京都 👩\u200d👧 e\u0301 שלום"
SCHEMA = {
    "type": "object",
    "properties": {"age": {"type": "integer"}},
    "required": ["age"],
    "additionalProperties": False,
}


def refused_by_name(behind: Behind, name: str, **asked: Any) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        behind.stream(max_tokens=4, **asked)
    assert (caught.value.code, caught.value.param) == ("unsupported_parameter", name)


def test_it_is_ready_and_tells_its_version(behind: Behind) -> None:
    assert behind.gateway.ready()
    line = behind.gateway.logged("endpoint_ready", engine=behind.engine)
    assert line["models"]
    if behind.engine != "mlx":
        assert line["engine_version"]


def test_a_chat_is_streamed_to_its_limit(behind: Behind) -> None:
    told = behind.stream(max_tokens=5)
    assert told.text
    assert told.finish == "length"
    assert told.usage is not None
    assert told.usage.prompt_tokens > 0
    assert told.usage.completion_tokens == 5
    assert len(told.chunks) > 3, "in pieces"


def test_an_answer_in_one_piece_says_the_same(behind: Behind) -> None:
    told = behind.stream(max_tokens=5)
    whole = behind.client.chat.completions.create(
        model="served", messages=COUNT, temperature=0, max_tokens=5
    )
    assert whole.choices[0].message.content == told.text
    assert whole.choices[0].finish_reason == "length"
    assert whole.usage is not None
    assert told.usage is not None
    assert whole.usage.completion_tokens == told.usage.completion_tokens


@pytest.mark.parametrize("length", [1, 5], ids=["within a token", "across tokens"])
def test_a_stop_sequence_ends_the_answer_and_is_no_part_of_it(behind: Behind, length: int) -> None:
    text = behind.stream(max_tokens=16).text
    middle = len(text) // 2
    stop = text[middle : middle + length]
    cut = behind.stream(max_tokens=16, stop=[stop])
    assert cut.text == text[: text.index(stop)]
    assert cut.finish == "stop"


def test_a_text_completion_is_answered(behind: Behind) -> None:
    answer = behind.client.completions.create(
        model="served", prompt="One two three four", temperature=0, max_tokens=4
    )
    assert answer.choices[0].text
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 4


def test_unicode_goes_in_and_comes_out(behind: Behind) -> None:
    messages = [{"role": "user", "content": UNICODE}]
    told = behind.stream(messages=messages, max_tokens=6)
    assert "\ufffd" not in told.text.rstrip("\ufffd"), "but where the limit cut a character"
    assert told.finish in ("stop", "length")
    if behind.engine == "triton":
        assert told.text.startswith(UNICODE.split()[0])


def test_the_same_seed_says_the_same_again(behind: Behind) -> None:
    if behind.engine == "triton":
        pytest.skip("its model draws nothing")
    asked: dict[str, Any] = {"temperature": 1.5, "max_tokens": 12}
    first, again, other = (behind.stream(seed=seed, **asked).text for seed in (7, 7, 8))
    assert first == again
    assert first != other


def test_log_probabilities_are_told_or_refused_by_name(behind: Behind) -> None:
    if behind.engine != "vllm":
        refused_by_name(behind, "logprobs", logprobs=True)
        return
    told = behind.stream(max_tokens=4, logprobs=True, top_logprobs=2)
    tokens = [
        token
        for chunk in told.chunks
        for choice in chunk.choices
        if choice.logprobs is not None
        for token in choice.logprobs.content or ()
    ]
    assert "".join(token.token for token in tokens) == told.text
    assert [len(token.top_logprobs) for token in tokens] == [2] * 4
    assert all(token.logprob <= 0 for token in tokens)


def test_json_by_a_schema_is_given_or_refused_by_name(behind: Behind) -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA}}
    if behind.engine != "vllm":
        refused_by_name(behind, "response_format", response_format=wanted)
        return
    told = behind.stream(max_tokens=60, response_format=wanted)
    assert told.finish == "stop"
    assert isinstance(json.loads(told.text)["age"], int)


def test_several_answers_are_given_or_refused_by_name(behind: Behind) -> None:
    if behind.engine != "vllm":
        refused_by_name(behind, "n", n=2)
        return
    answer = behind.client.chat.completions.create(
        model="served", messages=COUNT, max_tokens=4, n=2
    )
    assert [choice.index for choice in answer.choices] == [0, 1]
    assert answer.usage is not None
    assert 2 <= answer.usage.completion_tokens <= 8


def test_a_model_that_it_does_not_have_is_not_found(behind: Behind) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        behind.stream(model="absent", max_tokens=4)
    assert (caught.value.status_code, caught.value.code) == (502, "upstream_not_found")


def test_a_client_that_leaves_frees_the_engine(behind: Behind) -> None:
    chunks = behind.begin()
    next(iter(chunks))
    chunks.close()
    began_s = time.monotonic()
    eventually(lambda: behind.server.idle(), "nothing runs any more", within_s=20)
    behind.stream(max_tokens=2)
    assert time.monotonic() - began_s < 60


def test_an_engine_that_dies_in_a_stream_is_an_error_and_no_short_answer(mortal: Behind) -> None:
    pieces = iter(mortal.begin())
    next(pieces)
    mortal.server.kill()
    with pytest.raises(openai.APIError):
        for _ in pieces:
            pass
    eventually(lambda: not mortal.gateway.ready(), "the gateway sees that it is gone")
