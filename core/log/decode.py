"""Messages out of blocks of the log: what cold reads give their askers."""

from __future__ import annotations

import cython

from core.errors import LogCorrupt

if cython.compiled:
    from cython.cimports.core.log.record import NATIVE, STORE
    from cython.cimports.core.log.view import View
    from cython.cimports.core.message import Message, new_message
    from cython.cimports.core.wire import rd32, rd64, take
else:
    from core.log.record import NATIVE, STORE
    from core.log.view import View
    from core.message import Message, new_message
    from core.wire import rd32, rd64, take


@cython.ccall
def whole(record: bytes, offset: cython.longlong) -> Message:
    """A native message as one of our own, whose body is its record as it lies at `offset` in the log: what a copy of it
    is."""
    b: cython.p_uchar = record
    message: Message = new_message(b"", b"", b"", b"", record, len(record))
    message.offset, message.record_size = offset, len(record)
    message.store_ms = rd64(b, 68 if rd32(b, 36) & 0x10 else 56)  # behind a host of 20 bytes, or of 8
    return message


@cython.cfunc
def message_in(
    view: View,
    owner: object,
    b: cython.p_uchar,
    left: cython.Py_ssize_t,
    at: cython.Py_ssize_t,
    size: cython.Py_ssize_t,
    offset: cython.longlong,
):
    """See decode_block(); the rest as in View.parse_in()."""
    found: cython.Py_ssize_t = view.parse_in(owner, b, left, at, offset)
    if found != size or (view.kind != STORE and view.kind != NATIVE):
        raise LogCorrupt(f"no message of {size} bytes at log offset {offset}")
    return view.message() if view.kind == STORE else take(b, at, size)


def decode_message(buffer: bytes, at: cython.Py_ssize_t, size: cython.Py_ssize_t, offset: cython.longlong) -> Message:
    """The message whose record of `size` bytes lies at `at` in buffer and at `offset` in the log; of a native one see
    whole().

    Raises LogCorrupt, naming the offset, when there is no such record.
    """
    found: object = message_in(View(), buffer, buffer, len(buffer) - at, at, size, offset)
    return whole(found, offset) if isinstance(found, bytes) else found


def decode_block(
    buffer: bytes | memoryview, start: cython.longlong, units: object, places: list, messages: list
) -> None:
    """What lies at units[place] = (log offset, size) of each place, into messages[place]: a Message, or of a native one
    the bytes of its record. buffer begins at `start` in the log. One View serves all. Nothing of the buffer is kept: a
    memoryview is one of writable memory, which others use again afterwards. Raises as decode_message() does."""
    if isinstance(buffer, bytes):
        _decode_units(buffer, buffer, len(buffer), start, units, places, messages)
    elif cython.compiled:
        lent: cython.uchar[::1] = buffer
        if lent.shape[0]:
            _decode_units(buffer, cython.address(lent[0]), lent.shape[0], start, units, places, messages)
    else:
        decode_block(bytes(buffer), start, units, places, messages)


@cython.cfunc
def _decode_units(
    owner: object,
    b: cython.p_uchar,
    total: cython.Py_ssize_t,
    start: cython.longlong,
    units: object,
    places: list,
    messages: list,
):
    view: View = View()
    at: cython.Py_ssize_t
    offset: cython.longlong
    for place in places:
        offset, size = units[place]
        at = offset - start
        messages[place] = message_in(view, owner, b, total - at, at, size, offset)
