"""Who reads a task: so many, each woken by each change."""

import pytest

from contracts.errors import TooManyReaders
from gateway.tasks.readers import Readers

pytestmark = pytest.mark.req("RUN-4")


async def test_each_reader_is_woken() -> None:
    readers = Readers(2)
    with readers.join() as first, readers.join() as second:
        readers.wake()
        assert first.is_set()
        assert second.is_set()
        first.clear()
        readers.wake()
        assert first.is_set()


async def test_there_is_room_for_so_many_and_who_leaves_makes_room() -> None:
    readers = Readers(1)
    with readers.join():
        with pytest.raises(TooManyReaders), readers.join():
            pass
        assert len(readers) == 1
    with readers.join():
        pass
    assert len(readers) == 0
    readers.wake()
