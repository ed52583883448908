"""What only `mlx_lm.server` does, through the gateway: a cache, one prompt at a time, and what would end it."""

from typing import Any

import openai
import pytest

from tests.engines.behind import COUNT, Behind
from tests.support.wire import get

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.parametrize("engine", ["mlx"], indirect=True, scope="session"),
]


def test_a_prompt_that_it_had_is_told_as_cached(behind: Behind) -> None:
    behind.stream(max_tokens=2)
    again = behind.stream(max_tokens=2)
    assert again.usage is not None
    assert again.usage.prompt_tokens_details is not None
    assert again.usage.prompt_tokens_details.cached_tokens


def test_what_an_assistant_began_is_not_continued(behind: Behind) -> None:
    """It answers anew, behind a closed message: the tokens of another turn are in its prompt."""
    begun = behind.stream(messages=[*COUNT, {"role": "assistant", "content": "One"}], max_tokens=2)
    plain = behind.stream(max_tokens=2)
    assert begun.usage is not None
    assert plain.usage is not None
    turn = ["<|im_end|>", "\n", "<|im_start|>", "assistant", "\n"]
    assert begun.usage.prompt_tokens > plain.usage.prompt_tokens + len(turn)


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("top_k", {"extra_body": {"top_k": 49_152}}),
        ("xtc_threshold", {"extra_body": {"xtc_threshold": 0.7, "xtc_probability": 0.5}}),
        ("seed", {"seed": -1}),
        ("logit_bias", {"logit_bias": {"99999999": 1}}),
    ],
)
def test_what_would_end_it_does_not_reach_it(
    behind: Behind, name: str, asked: dict[str, Any]
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        behind.stream(max_tokens=2, **{"temperature": 1, **asked})
    assert caught.value.param == name
    assert get(f"{behind.server.url}/health").status == 200


@pytest.mark.parametrize(
    "asked",
    [
        {"extra_body": {"top_k": 1000}},
        {"extra_body": {"xtc_threshold": 0.5, "xtc_probability": 0.5}},
        {"seed": 2**64 - 1},
        {"presence_penalty": 2, "frequency_penalty": -2, "top_p": 0},
    ],
    ids=["top_k", "xtc", "seed", "penalties"],
)
def test_the_last_harmless_values_are_answered(behind: Behind, asked: dict[str, Any]) -> None:
    assert behind.stream(max_tokens=2, **{"temperature": 1, **asked}).usage


def test_what_it_refuses_is_for_the_client_to_mend(behind: Behind) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        behind.stream(messages=[], max_tokens=2)
    assert caught.value.type == "invalid_request_error"
    with pytest.raises(openai.BadRequestError):
        behind.stream(max_tokens=2, top_p=2)


def test_a_thread_that_has_died_is_no_fault_of_the_next_client(mortal: Behind) -> None:
    """Somebody else has ended it, past the gateway."""
    direct = openai.OpenAI(
        base_url=f"{mortal.server.url}/v1", api_key="unused", max_retries=0, timeout=60
    )
    with direct:
        stream = direct.chat.completions.create(
            model="default_model",
            messages=COUNT,
            temperature=1,
            extra_body={"top_k": 49_152},
            stream=True,
        )
        assert not [choice for chunk in stream for choice in chunk.choices]
    with pytest.raises(openai.InternalServerError) as caught:
        mortal.stream(max_tokens=2)
    assert caught.value.status_code == 503
