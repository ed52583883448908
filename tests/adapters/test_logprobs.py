"""Probabilities in OpenAI's form."""

import json

import pytest

from adapters.logprobs import content_logprobs

pytestmark = pytest.mark.req("RUN-3")


def test_each_token_is_told_with_its_bytes_and_those_it_was_chosen_from() -> None:
    told = json.loads(
        bytes(content_logprobs([(("é", -0.5), [("é", -0.5), ("e", -1.0)]), (("", -2.0), [])]))
    )
    assert told == {
        "content": [
            {
                "token": "é",
                "logprob": -0.5,
                "bytes": [195, 169],
                "top_logprobs": [
                    {"token": "é", "logprob": -0.5, "bytes": [195, 169]},
                    {"token": "e", "logprob": -1.0, "bytes": [101]},
                ],
            },
            {"token": "", "logprob": -2.0, "bytes": [], "top_logprobs": []},
        ],
        "refusal": None,
    }
