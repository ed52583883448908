"""References: equal ones share a slot, different ones never do, and every slot is a CEL variable."""

import cel
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies import references
from policies.references import Reference
from policies.vocabulary import POOL_FIELDS, POOL_SIGNALS, REQUEST_FIELDS

NAMES = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
    st.sampled_from(["a", "b", "a_b"]),
)
REFERENCES = st.one_of(
    st.sampled_from(sorted(REQUEST_FIELDS)).map(references.request_field),
    st.sampled_from(sorted(POOL_FIELDS)).map(references.pool_field),
    st.builds(references.pools_signal, NAMES, st.sampled_from(sorted(POOL_SIGNALS))),
    NAMES.map(references.header),
    st.lists(NAMES, min_size=1, max_size=3, unique=True).map(
        lambda names: references.headers(tuple(sorted(names)))
    ),
    st.just(references.headers()),
)


@pytest.mark.req("INT-2")
@given(one=REFERENCES, other=REFERENCES)
def test_two_references_share_a_slot_only_when_they_are_equal(
    one: Reference, other: Reference
) -> None:
    assert (one.slot == other.slot) == (one == other)


@given(reference=REFERENCES)
def test_every_slot_is_a_variable_that_no_condition_can_spell_by_accident(
    reference: Reference,
) -> None:
    context = cel.Context()
    context.add_variable(reference.slot, True)
    assert cel.compile(reference.slot).execute(context) is True
    assert reference.slot.startswith("__")


def test_labels_are_what_a_person_would_write() -> None:
    assert references.request_field("model").label == "request.model"
    assert references.header("x-a").label == 'request.headers["x-a"]'
    assert references.headers(("x-a",)).label == "request.headers"
    assert references.pool_field("queued").label == "pool.queued"
    assert references.pools_signal("local", "queued").label == 'pools["local"].queued'
