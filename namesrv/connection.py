"""One connection to the name server, without its socket: bytes in, answers out, in the order of the requests.

It takes part of what was read, as far as the other end reads its answers: what is not taken is offered again.
"""

from __future__ import annotations

from typing import NamedTuple

from namesrv.requests import Answer, NameServer
from protocols.remoting.fields import FrameError
from protocols.remoting.frame import Frame
from protocols.remoting.frame_writer import FrameWriter

RESPONSE = 1  # the flag of a response
TURN_REQUESTS = 256  # answered at once; the rest waits for others' turns
TURN_BYTES = 1 << 18  # of answers gathered at once


class Taken(NamedTuple):
    """What became of bytes that were read: `size` of them are done with, and `answers` are to be sent.

    more    there may be whole requests left, to be taken when others had their turn
    broken  why no frame can begin at `size`, or empty: then the connection is to be closed after the answers
    """

    size: int
    answers: list[bytes]
    more: bool
    broken: str = ""


class NamesrvConnection:
    """`frame` and `writer` are shared by all connections: one is served at a time. `kind` is that of our headers.
    `local_host` is the address of ours that the other end came in by."""

    def __init__(self, server: NameServer, frame: Frame, writer: FrameWriter, kind: int):
        self._server = server
        self._frame = frame
        self._writer = writer
        self._kind = kind
        self.local_host = ""

    def receive(self, buffer: bytearray, end: int) -> Taken:
        """Take requests from buffer[:end]."""
        at = gathered = 0
        out: list[bytes] = []
        for _ in range(TURN_REQUESTS):
            try:
                size = self._frame.take(buffer, at, end)
            except FrameError as error:
                return Taken(at, out, False, str(error))
            if not size:
                return Taken(at, out, False)
            at += size
            for piece in self._answer():
                out.append(piece)
                gathered += len(piece)
            if gathered >= TURN_BYTES:
                break
        return Taken(at, out, True)

    def _answer(self) -> tuple[bytes, ...]:
        """The bytes that answer the frame; none for a one-way request, or for an answer: we ask nobody anything."""
        frame = self._frame
        if frame.is_response:
            return ()
        answer = self._server.answer(frame, self)
        if frame.is_oneway:
            return ()
        return self._encoded(answer)

    def _encoded(self, answer: Answer) -> tuple[bytes, ...]:
        writer = self._writer
        remark = None if answer.remark is None else answer.remark.encode()
        writer.begin(self._kind, answer.code, self._frame.opaque, RESPONSE, remark)
        for name, value in (answer.fields or {}).items():
            writer.field(name.encode(), value.encode())
        head = writer.end(len(answer.body))
        return (head, answer.body) if answer.body else (head,)

    def lost(self) -> None:
        """The socket is gone."""
        self._server.lost(self)
