"""Any chat that a client may ask for, by chance."""

from typing import Any

from hypothesis import strategies as st

from tests.adapters.conformance.scenarios import TOOLS

TEXTS = st.text(min_size=0, max_size=6)
PARTS = st.one_of(
    TEXTS,
    st.lists(
        st.one_of(
            TEXTS.map(lambda text: {"type": "text", "text": text}),
            st.just({"type": "image_url", "image_url": {"url": "https://e.example/a.png"}}),
            st.just({"type": "image_url", "image_url": {"url": "data:image/tiff;base64,AA=="}}),
            st.just({"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}}),
            st.just({"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}),
            st.just({"type": "file", "file": {"file_data": "data:application/pdf;base64,AA=="}}),
        ),
        min_size=1,
        max_size=3,
    ),
)


@st.composite
def exchanges(draw: st.DrawFn) -> list[dict[str, Any]]:
    """An assistant's turn, and the results of what it called, in any order."""
    ids = draw(st.lists(st.sampled_from(["a", "b.1", "c:2", "d"]), unique=True, max_size=3))
    calls = [
        {"id": i, "type": "function", "function": {"name": "clock", "arguments": '{"x": 1}'}}
        for i in ids
    ]
    said: dict[str, Any] = {"role": "assistant", "content": draw(st.none() | TEXTS)}
    if calls:
        said["tool_calls"] = calls
    results = [
        {"role": "tool", "tool_call_id": i, "content": draw(TEXTS)}
        for i in draw(st.permutations(ids))
    ]
    after = draw(st.none() | TEXTS)
    user = [] if after is None and not results else [{"role": "user", "content": after or "So?"}]
    return [said, *results, *user]


CHATS = st.builds(
    lambda system, first, rest: [*system, *first, *(m for turn in rest for m in turn)],
    st.lists(
        st.builds(
            lambda role, text: {"role": role, "content": text},
            st.sampled_from(["system", "developer"]),
            TEXTS,
        ),
        max_size=2,
    ),
    st.lists(
        st.builds(lambda content: {"role": "user", "content": content}, PARTS),
        min_size=1,
        max_size=2,
    ),
    st.lists(exchanges(), max_size=3),
)
MEMBERS = st.fixed_dictionaries(
    {"messages": CHATS},
    optional={
        "temperature": st.sampled_from([0, 0.3, 1, 1.5]),
        "top_p": st.just(0.5),
        "top_k": st.just(5),
        "max_tokens": st.sampled_from([1, 1024, 4096]),
        "stop": st.sampled_from(["END", " ", ["a", "\n\n"], []]),
        "tools": st.just(TOOLS),
        "tool_choice": st.sampled_from(
            [
                "auto",
                "none",
                "required",
                {"type": "function", "function": {"name": "clock"}},
                {
                    "type": "allowed_tools",
                    "allowed_tools": {
                        "mode": "auto",
                        "tools": [{"type": "function", "function": {"name": "clock"}}],
                    },
                },
            ]
        ),
        "parallel_tool_calls": st.booleans(),
        "reasoning_effort": st.sampled_from(["none", "minimal", "low", "high", "max"]),
        "response_format": st.sampled_from([{"type": "text"}, {"type": "json_object"}]),
        "user": st.just("u-1"),
        "n": st.sampled_from([1, 2]),
        "seed": st.just(1),
        "service_tier": st.sampled_from(["auto", "default", "priority"]),
        "metadata": st.sampled_from([{}, {"user_id": "u"}, {"a": "b"}]),
    },
)
