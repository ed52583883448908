import pytest

from adapters.retry_after import retry_after_s

DATE = "Wed, 21 Oct 2026 07:27:30 GMT"


@pytest.mark.req("RUN-6")
@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "2"}, 2.0),
        ({"retry-after": " 0.5 "}, 0.5),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after-ms": "50", "retry-after": "9"}, 0.05),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9.0),
        ({"retry-after-ms": "-5", "retry-after": "9"}, 9.0),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}, None),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT", "date": DATE}, 30.0),
        ({"retry-after": "Wed, 21 Oct 2026 07:27:00 GMT", "date": DATE}, 0.0),
        ({"retry-after": "Fri, 23 Oct 2026 07:28:00 GMT", "date": DATE}, None),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT", "date": "soon"}, None),
        ({"retry-after-ms": "Wed, 21 Oct 2026 07:28:00 GMT", "date": DATE}, None),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "86401"}, None),
        ({"retry-after": "2, 3"}, None),
        ({"retry-after": ""}, None),
        ({}, None),
    ],
)
def test_a_hint_counts_where_it_is_sane(headers, seconds):
    assert retry_after_s(headers) == seconds
