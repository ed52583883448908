"""What only Triton does, through the gateway: a model that fails, its queue, versions, and how an answer ends."""

import threading
import time
from typing import Any

import openai
import pytest

from tests.engines.behind import Behind
from tests.support.processes import eventually
from tests.support.wire import post

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.parametrize("engine", ["triton"], indirect=True, scope="session"),
]


def said(behind: Behind, text: str, **asked: Any) -> str:
    return behind.stream(messages=[{"role": "user", "content": text}], **asked).text


def test_a_model_that_fails_under_way_is_an_error(behind: Behind) -> None:
    with pytest.raises(openai.APIError, match="boom mid-stream"):
        said(behind, "a b boom-here c", max_tokens=9)


def test_a_model_that_fails_at_once_is_an_error(behind: Behind) -> None:
    with pytest.raises(openai.InternalServerError, match="boom before") as caught:
        said(behind, "boom before", max_tokens=9)
    assert caught.value.code == "upstream_error"


def test_a_model_that_says_nothing_is_an_error(behind: Behind) -> None:
    with pytest.raises(openai.APIError) as caught:
        said(behind, "nothing")
    assert caught.value.code == "upstream_stream_broken"


def test_an_answer_that_ends_by_itself_is_whole(behind: Behind) -> None:
    told = behind.stream(messages=[{"role": "user", "content": "a b"}], max_tokens=500)
    assert told.text.split() == ["a", "b"] * 200
    assert told.finish == "stop"


def test_a_client_that_leaves_is_noticed_by_the_model(behind: Behind) -> None:
    chunks = behind.begin()
    next(iter(chunks))
    began_s = time.monotonic()
    chunks.close()
    note = "nobody listens after"
    eventually(lambda: note in behind.server.stderr + behind.server.stdout, note, within_s=10)
    assert time.monotonic() - began_s < 10


def test_a_version_of_a_model_can_be_named(behind: Behind) -> None:
    assert said(behind, "a", model="first", max_tokens=1)
    with pytest.raises(openai.APIStatusError) as caught:
        said(behind, "a", model="ninth", max_tokens=1)
    assert caught.value.code == "upstream_not_found"


@pytest.mark.parametrize(
    "asked",
    [{"temperature": 0.5, "seed": 7, "top_p": 0.5}, {"extra_body": {"top_k": 5}}],
    ids=["sampling", "top_k"],
)
def test_parameters_that_its_model_does_not_know_are_passed_over(
    behind: Behind, asked: dict[str, Any]
) -> None:
    assert said(behind, "a", max_tokens=2, **asked)


@pytest.mark.parametrize(("name", "value"), [("temperature", [1]), ("repetition_penalty", "high")])
def test_a_parameter_of_a_wrong_type_is_for_the_client_to_mend(
    behind: Behind, name: str, value: Any
) -> None:
    """The first is a 400, the second, for which its model has an input, a 500."""
    body = {"model": "served", "prompt": "a", "max_tokens": 2, name: value}
    assert post(f"{behind.gateway.url}/v1/completions", body).status == 400


def test_a_limit_beyond_32_bits_is_no_other_limit(behind: Behind) -> None:
    assert said(behind, "a", max_tokens=2**31).split() == ["a"] * 200


def test_a_full_queue_is_an_overload(behind: Behind) -> None:
    """Two at once, and one that waits."""
    answers: list[str] = []

    def ask() -> None:
        try:
            answers.append(said(behind, "a", max_tokens=60))
        except openai.InternalServerError as error:
            answers.append(f"{error.status_code} {error.type}")

    asking = [threading.Thread(target=ask) for _ in range(6)]
    for thread in asking:
        thread.start()
        time.sleep(0.1)
    for thread in asking:
        thread.join(60)
    assert answers.count("503 overloaded_error") == 3
    assert len([answer for answer in answers if answer.startswith("a a")]) == 3
