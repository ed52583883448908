"""Gemini's answers to events: streams, and whole answers. Sans-IO.

There is no end marker: a stream is complete when every candidate has told why it finished. What must stay true:
no bytes raise, and nothing is read after a fault.
"""

from adapters.gemini_answer import AnswerReader
from adapters.gemini_faults import fault_of
from adapters.gemini_frames import Frames, FrameTooLarge
from adapters.gemini_wire import read_chunk, read_chunks
from adapters.line_stream import LineStreamDecoder
from adapters.openai_wire import has_items
from adapters.whole_body import WholeBodyDecoder, unreadable
from contracts.events import End, Event, Fault


class StreamDecoder(LineStreamDecoder):
    """A streamed answer."""

    def __init__(self, choices: int) -> None:
        super().__init__()
        self._frames = Frames()
        self._answer = AnswerReader(choices)

    def read(self, line: bytes, out: list[Event]) -> None:
        try:
            documents = self._frames.line(line)
        except FrameTooLarge as exc:
            self.broken(f"the engine's stream cannot be read: {exc}", out)
            return
        self._documents(documents, out)

    def last(self, out: list[Event]) -> None:
        self._documents(self._frames.close(), out)
        if not self._over:
            self.end(out)

    def _documents(self, documents: list[bytes], out: list[Event]) -> None:
        for document in documents:
            if self._over:
                return
            chunk = read_chunk(document)
            if chunk is None:
                self.broken("the engine sent an event that is not valid JSON", out)
            elif has_items(chunk.error):
                self.fault(fault_of(document, None), out)
            elif fault := self._answer.read(chunk, out):
                self.fault(fault, out)


class DocumentDecoder(WholeBodyDecoder):
    """An answer in one piece, from a server that does not stream."""

    def __init__(self, choices: int) -> None:
        super().__init__()
        self._answer = AnswerReader(choices)

    def read(self, body: bytes) -> list[Event]:
        chunks = read_chunks(body)
        if chunks is None:
            return [unreadable()]
        out: list[Event] = []
        for chunk in chunks:
            fault = (
                fault_of(body, None) if has_items(chunk.error) else self._answer.read(chunk, out)
            )
            if fault is not None:
                return [*out, Fault(error=fault)]
        return [*out, End()]
