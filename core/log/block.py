"""Blocks of spill/: records one behind the other, written and read as a whole (queue/spill.py).

A record is one of the log's (record.py), without places: whoever refers to it knows them. Its log offset is the block's
name, not a place in a file: PLACE | number of the block << 10 | number of the record in it. So a block that lies where
another one did is never taken for that.
"""

from __future__ import annotations

from array import array

import cython

from core.errors import LogCorrupt

if cython.compiled:
    from cython.cimports.core.log.encoder import Encoder
    from cython.cimports.core.log.record import HEAD_BYTES, OTHER, STORE
    from cython.cimports.core.log.view import View
    from cython.cimports.core.message import Message
    from cython.cimports.core.wire import rd32
else:
    from core.log.encoder import Encoder
    from core.log.record import HEAD_BYTES, OTHER, STORE
    from core.log.view import View
    from core.message import Message
    from core.wire import rd32

    BLOCK_BITS = 10

SLICE = 64  # records for which a thread that reads keeps Python's lock: about 100 us
PLACE = cython.declare(cython.longlong, cython.cast(cython.longlong, 1) << 62)
NO_PLACES = cython.declare(object, array("q", [0]))


@cython.ccall
def encode(encoder: Encoder, messages: list, number: cython.longlong) -> list:
    """The buffers of the messages' records, one behind the other; number = the block's."""
    out: list = []
    at: cython.Py_ssize_t
    for at in range(len(messages)):
        message: Message = messages[at]
        size: cython.Py_ssize_t = encoder.plan_store(message, NO_PLACES, 0)
        _name(encoder, number, at)
        encoder.store_ms = message.store_ms
        if encoder.inline():
            record = bytearray(size)
            encoder.write(record, 0)
            out.append(record)
        else:
            pieces: list = []
            frame = bytearray(size)
            end: cython.Py_ssize_t = encoder.write_around(frame, 0, pieces)
            out.append(frame[:HEAD_BYTES])
            out.extend(pieces)
            out.append(frame[HEAD_BYTES:end])
    return out


@cython.ccall
def encode_codes(encoder: Encoder, codes: bytes, number: cython.longlong, at: cython.Py_ssize_t) -> bytearray:
    """The record that holds tags codes, the one with so many before it in the block."""
    record = bytearray(encoder.plan(OTHER, codes))
    _name(encoder, number, at)
    encoder.store_ms = 0
    encoder.write(record, 0)
    return record


@cython.cfunc
def _name(encoder: Encoder, number: cython.longlong, at: cython.Py_ssize_t):
    encoder.offset = PLACE | number << 10 | at
    encoder.queue_offset = 0
    encoder.batch_offset = encoder.offset


@cython.ccall
@cython.exceptval(-1)
def skip(block: bytes, at: cython.Py_ssize_t, count: cython.Py_ssize_t) -> cython.Py_ssize_t:
    """The place behind `count` records from `at` on. Raises LogCorrupt."""
    b: cython.p_uchar = block
    while count > 0:
        if at + 8 > len(block):
            raise LogCorrupt("a block of spill/ is shorter than it was")
        at += max(rd32(b, at), 8)
        count -= 1
    return at


@cython.ccall
@cython.exceptval(-1)
def decode(
    block: bytes, at: cython.Py_ssize_t, number: cython.longlong, first: cython.Py_ssize_t, stop: cython.Py_ssize_t,
    out: list,
) -> cython.Py_ssize_t:
    """Append to `out` the messages of the records `first` to `stop` of a block, which begin at `at`; return the place
    behind them. Raises LogCorrupt."""
    view: View = View()
    record: cython.Py_ssize_t
    for record in range(first, stop):
        at += _parse(view, block, at, number, record, STORE)
        message: Message = view.message()
        message.offset = -1  # it is in no log
        message.record_size = 0
        message.spilled = number << 10 | record
        out.append(message)
    return at


@cython.ccall
def decode_codes(block: bytes, at: cython.Py_ssize_t, number: cython.longlong, record: cython.Py_ssize_t) -> bytes:
    """The tags codes in the record at `at`. Raises LogCorrupt."""
    view: View = View()
    _parse(view, block, at, number, record, OTHER)
    return view.body()


@cython.cfunc
@cython.exceptval(-1)
def _parse(
    view: View, block: bytes, at: cython.Py_ssize_t, number: cython.longlong, record: cython.Py_ssize_t,
    kind: cython.int,
) -> cython.Py_ssize_t:
    size: cython.Py_ssize_t = view.parse(block, at, PLACE | number << 10 | record) if at < len(block) else -1
    if size <= 0 or view.kind != kind:
        raise LogCorrupt(f"record {record} of block {number} of spill/ is not what was written")
    return size
