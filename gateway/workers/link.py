"""One connection between two processes of the gateway: messages in order, gathered into few writes.

A frame is its length and a list of messages. Must stay true: what one side says is heard in order or not at
all; nobody waits for a peer that does not read: beyond `BACKLOG_BYTES` the connection is given up.
"""

import asyncio
import struct
from collections.abc import AsyncIterator
from typing import Generic, TypeVar

import msgspec

from gateway.workers.messages import FromHub, FromWorker

BACKLOG_BYTES = 32 * 1024 * 1024
FRAME_BYTES = 64 * 1024 * 1024
_LENGTH = struct.Struct("<I")
_encoder = msgspec.msgpack.Encoder()
In = TypeVar("In")

from_worker: msgspec.msgpack.Decoder[list[FromWorker]] = msgspec.msgpack.Decoder(list[FromWorker])
from_hub: msgspec.msgpack.Decoder[list[FromHub]] = msgspec.msgpack.Decoder(list[FromHub])


def spelled(*messages: msgspec.Struct) -> bytes:
    """A frame of them, for several links at once."""
    body = _encoder.encode(messages)
    return _LENGTH.pack(len(body)) + body


class Link(Generic[In]):
    """One end. `decoder` is for what the other end says."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        decoder: msgspec.msgpack.Decoder[list[In]],
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._decoder = decoder
        self._said: list[msgspec.Struct] = []
        self._due = False

    @property
    def behind_bytes(self) -> int:
        """What the other end has not taken yet."""
        return self._writer.transport.get_write_buffer_size()

    def say(self, message: msgspec.Struct) -> None:
        """Send it, with all else that is said in this round of the event loop."""
        self._said.append(message)
        if not self._due:
            self._due = True
            asyncio.get_running_loop().call_soon(self.flush)

    def flush(self) -> None:
        """Send what was said."""
        self._due = False
        if self._said:
            said, self._said = self._said, []
            self.send(spelled(*said))

    def send(self, frame: bytes) -> None:
        """A frame made by `spelled`; after what was said before."""
        if self._said:
            self.flush()
        if self._writer.is_closing():
            return
        self._writer.write(frame)
        if self.behind_bytes > BACKLOG_BYTES:
            self.close()

    async def heard(self) -> AsyncIterator[list[In]]:
        """What the other end says, a frame at a time, until it is gone."""
        try:
            while True:
                (size,) = _LENGTH.unpack(await self._reader.readexactly(_LENGTH.size))
                if size > FRAME_BYTES:
                    return
                yield self._decoder.decode(await self._reader.readexactly(size))
        except (asyncio.IncompleteReadError, ConnectionError):
            return

    def close(self) -> None:
        """At once, whatever is still to be sent."""
        self._writer.transport.abort()
