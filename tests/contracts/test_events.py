"""Token counts: what is part of what."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.events import Usage

COUNTS = st.integers(0, 2**40)


@pytest.mark.req("RUN-3")
@given(prompt=COUNTS, completion=COUNTS, data=st.data())
def test_cached_and_reasoning_tokens_are_not_counted_twice(
    prompt: int, completion: int, data: st.DataObject
) -> None:
    plain = Usage(prompt_tokens=prompt, completion_tokens=completion)
    detailed = Usage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        cached_tokens=data.draw(st.integers(0, prompt)),
        reasoning_tokens=data.draw(st.integers(0, completion)),
    )
    assert detailed.total_tokens == plain.total_tokens == prompt + completion
