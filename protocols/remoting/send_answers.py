"""Answers of sends: each waits for the commit of what it answers, and is then written in one go.

What waits is numbers and bytes in one ring for all connections: nothing that the garbage collector sees. All answers
are alike but for a few numbers and texts, so that what lies between those is made once, by the writer of all frames.
"""

from __future__ import annotations

import re
from array import array

import cython

from protocols.remoting.frame_writer import FrameWriter

if cython.compiled:
    from cython.cimports.core.log.commit_log import CommitLog
    from cython.cimports.core.log.waiter import Waiter
    from cython.cimports.core.wire import put, wr32
    from cython.cimports.protocols.remoting.connection import RemotingConnection
    from cython.cimports.protocols.remoting.json_text import put_decimal, put_escaped
    from cython.cimports.protocols.remoting.message_ids import put_offset_id
else:
    from core.log.commit_log import CommitLog
    from core.log.waiter import Waiter
    from core.wire import put, wr32
    from protocols.remoting.connection import RemotingConnection
    from protocols.remoting.json_text import put_decimal, put_escaped
    from protocols.remoting.message_ids import put_offset_id

RING = 256  # sends waiting for one commit before the ring grows
OBJECTS = cython.declare(cython.Py_ssize_t, 3)  # per send that waits: connection, message ids or None, transaction id
NUMBERS = cython.declare(cython.Py_ssize_t, 4)  # opaque, queue id, queue offset, log offset
PREFIX_BYTES = cython.declare(cython.Py_ssize_t, 8)
ROOM = cython.declare(cython.Py_ssize_t, 1024)  # of an answer, for all but the texts that a client gave
ESCAPED_MAX = cython.declare(cython.Py_ssize_t, 6)  # bytes that one byte may need in a JSON string
JSON, SUCCESS, RESPONSE = 0, 0, 1
MARKS = (987654321001, 987654321002, 987654321003, 987654321004, 987654321005)  # nothing else of an answer reads so


@cython.final
@cython.cclass
class SendAnswers(Waiter):
    """say() what they all have, then wait() for each send; `host_hex` begins the message ids, as hexadecimal text."""

    def __init__(self, log: CommitLog, host_hex: bytes):
        Waiter.__init__(self)
        self._log = log
        self._host_hex = host_hex
        self._pieces = ()
        self._scratch = bytearray(ROOM)
        self._objects: list = [None] * (OBJECTS * RING)
        self._memory = array("q", bytes(8 * NUMBERS * RING))
        self._numbers = self._memory
        self._size = RING
        self._first = self._next = 0

    def say(self, fields: tuple[tuple[bytes, bytes], ...]) -> None:
        """Every answer from now on has these fields."""
        self._pieces = _pieces(fields)

    @cython.ccall
    @cython.boundscheck(False)
    @cython.wraparound(False)
    def wait(
        self,
        connection: RemotingConnection,
        opaque: cython.longlong,
        queue_id: cython.int,
        queue_offset: cython.longlong,
        offset: cython.longlong,
        transaction_id: object,
        ids: bytes | None = None,
    ):
        """The send is answered when the batch that is filling is committed. offset: where its message lies in the log;
        ids: of a batch's messages, in place of that one."""
        if self._next - self._first == self._size:
            self._grow()
        at: cython.Py_ssize_t = self._next & (self._size - 1)
        self._objects[OBJECTS * at] = connection
        self._objects[OBJECTS * at + 1] = ids
        self._objects[OBJECTS * at + 2] = transaction_id
        self._numbers[NUMBERS * at] = opaque
        self._numbers[NUMBERS * at + 1] = queue_id
        self._numbers[NUMBERS * at + 2] = queue_offset
        self._numbers[NUMBERS * at + 3] = offset
        self._next += 1
        connection.unanswered += 1
        if self.batch_no != self._log.batch_no:
            self._log.wait(self)

    def _grow(self) -> None:
        """Twice the room. What lies at n lies at n modulo the size."""
        objects: list = [None] * (2 * OBJECTS * self._size)
        memory = array("q", bytes(16 * NUMBERS * self._size))
        for n in range(self._first, self._next):
            old, new = n & (self._size - 1), n & (2 * self._size - 1)
            objects[OBJECTS * new : OBJECTS * new + OBJECTS] = self._objects[OBJECTS * old : OBJECTS * old + OBJECTS]
            memory[NUMBERS * new : NUMBERS * new + NUMBERS] = self._memory[NUMBERS * old : NUMBERS * old + NUMBERS]
        self._objects, self._memory, self._numbers = objects, memory, memory
        self._size *= 2

    @cython.ccall
    @cython.exceptval(-1, check=True)
    def mark(self) -> cython.longlong:
        """The batch closes: the sends that it holds are those up to this one."""
        return self._next

    @cython.ccall
    def committed(self, mark: cython.longlong):
        """Answer all sends up to `mark`."""
        while self._first < mark:
            self._answer(self._first & (self._size - 1))
            self._first += 1

    @cython.cfunc
    @cython.boundscheck(False)
    @cython.wraparound(False)
    def _answer(self, at: cython.Py_ssize_t):
        connection: RemotingConnection = self._objects[OBJECTS * at]
        ids: object = self._objects[OBJECTS * at + 1]
        transaction_id: object = self._objects[OBJECTS * at + 2]
        self._objects[OBJECTS * at] = self._objects[OBJECTS * at + 1] = self._objects[OBJECTS * at + 2] = None
        connection.unanswered -= 1
        if connection.finished:
            return
        text: bytes = b"" if transaction_id is None else transaction_id
        given: bytes = b"" if ids is None else ids
        needed: cython.Py_ssize_t = ROOM + ESCAPED_MAX * len(text) + len(given)
        if len(self._scratch) < needed:
            self._scratch = bytearray(needed)
        p: cython.p_uchar = self._scratch
        pieces: tuple = self._pieces
        to: cython.Py_ssize_t = put_piece(p, PREFIX_BYTES, pieces[0])
        to = put_decimal(p, to, self._numbers[NUMBERS * at + 1])
        if transaction_id is not None:
            to = put_escaped(p, put_piece(p, to, pieces[1]), text)
        to = put_piece(p, to, pieces[2])
        if ids is None:
            to = put_offset_id(p, to, self._host_hex, self._numbers[NUMBERS * at + 3])
        else:
            to = put_piece(p, to, given)
        to = put_decimal(p, put_piece(p, to, pieces[3]), self._numbers[NUMBERS * at + 2])
        to = put_decimal(p, put_piece(p, to, pieces[4]), self._numbers[NUMBERS * at])
        to = put_piece(p, to, pieces[5])
        wr32(p, 0, to - 4)
        wr32(p, 4, to - PREFIX_BYTES)
        connection.write_from(self._scratch, to)


@cython.cfunc
@cython.exceptval(check=False)
def put_piece(p: cython.p_uchar, to: cython.Py_ssize_t, piece: bytes) -> cython.Py_ssize_t:
    """Write it and return the place behind it."""
    put(p, to, piece)
    return to + len(piece)


def _pieces(fields: tuple[tuple[bytes, bytes], ...]) -> tuple[bytes, ...]:
    """What lies between queue id, transaction id, message id, queue offset and opaque of an answer."""
    writer = FrameWriter()
    queue_id, transaction_id, message_id, offset, opaque = MARKS
    writer.begin(JSON, SUCCESS, opaque, RESPONSE)
    writer.number(b"queueId", queue_id)
    writer.field(b"transactionId", b"%d" % transaction_id)
    for name, value in fields:
        writer.field(name, value)
    writer.field(b"msgId", b"%d" % message_id)
    writer.number(b"queueOffset", offset)
    found = re.split(b"|".join(b"%d" % mark for mark in MARKS), writer.end(0)[PREFIX_BYTES:])
    assert len(found) == len(MARKS) + 1
    return tuple(found)
