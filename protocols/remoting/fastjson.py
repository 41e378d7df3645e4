"""JSON bodies as RocketMQ's fastjson writes and reads them: keys of maps that are no strings have no quotes.

{0:"127.0.0.1:10911"} is a map keyed by numbers, {{"brokerName":"b","queueId":0,"topic":"T"}:5} one keyed by queues.
Neither is JSON. Java's tools read strict JSON as well; what Java sends must be understood.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import cython
import msgspec

if cython.compiled:
    from cython.cimports.protocols.remoting.json_text import value_end
else:
    from protocols.remoting.json_text import value_end

T = TypeVar("T")
QUOTE = cython.declare(cython.uchar, 0x22)
APOSTROPHE = cython.declare(cython.uchar, 0x27)
BACKSLASH = cython.declare(cython.uchar, 0x5C)


class BodyError(Exception):
    """A body that is not JSON, or not what the request must carry. The text names the place."""


def decode(body: bytes, kind: type[T]) -> T:
    """The body as a value of that type, from strict JSON or from fastjson's. Raises BodyError."""
    try:
        try:
            return msgspec.json.decode(body, type=kind, strict=False)
        except msgspec.ValidationError:
            raise
        except msgspec.DecodeError:
            return msgspec.json.decode(strict(body), type=kind, strict=False)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BodyError(str(error)) from None


def bare_keys(table: Mapping[int, Any]) -> msgspec.Raw:
    """A map whose keys are numbers, as fastjson writes it: for peers that read nothing else."""
    pairs = (b"%d:%b" % (key, msgspec.json.encode(table[key])) for key in sorted(table))
    return msgspec.Raw(b"{" + b",".join(pairs) + b"}")


def strict(text: bytes) -> bytes:
    """The same in strict JSON: bare keys quoted, an object that is a key becomes a string of its JSON text, strings in
    apostrophes get quotes. What is broken stays broken: whoever decodes it says so."""
    made: bytearray = bytearray(2 * len(text) + 2)  # at worst each byte is a key, or is escaped in one
    size: cython.Py_ssize_t = _rewrite(text, len(text), made)
    del made[size:]
    return bytes(made)


@cython.cfunc
@cython.exceptval(-1)
def _rewrite(b: cython.p_uchar, end: cython.Py_ssize_t, made: bytearray) -> cython.Py_ssize_t:
    out: cython.p_uchar = made
    open_objects: bytearray = bytearray(b" ")  # what encloses this place: { or [
    is_key: cython.bint = False
    at: cython.Py_ssize_t = 0
    to: cython.Py_ssize_t = 0
    stop: cython.Py_ssize_t
    c: cython.uchar
    while at < end:
        c = b[at]
        if c == QUOTE or c == APOSTROPHE:
            stop = _past_string(b, at, end)
            to = _put_string(out, to, b, at, stop) if c == APOSTROPHE else _copy(out, to, b, at, stop)
            at, is_key = stop, False
        elif is_key and c == 0x7B:
            stop = value_end(b, at, end)
            if stop < 0:
                stop = end
            to = _put_quoted(out, to, b, at, stop)
            at, is_key = stop, False
        elif is_key and not (c == 0x7D or c == 0x2C or c == 0x3A or c <= 0x20):
            stop = _past_token(b, at, end)
            to = _put_quoted(out, to, b, at, stop)
            at, is_key = stop, False
        else:
            if c == 0x7B or c == 0x5B:
                open_objects.append(c)
                is_key = c == 0x7B
            elif c == 0x7D or c == 0x5D:
                if len(open_objects) > 1:
                    open_objects.pop()
                is_key = False
            elif c == 0x2C:
                is_key = open_objects[len(open_objects) - 1] == 0x7B
            out[to] = c
            to += 1
            at += 1
    return to


@cython.cfunc
@cython.exceptval(check=False)
def _past_string(b: cython.p_uchar, at: cython.Py_ssize_t, end: cython.Py_ssize_t) -> cython.Py_ssize_t:
    """Behind the string that begins with the quote at `at`."""
    quote: cython.uchar = b[at]
    at += 1
    while at < end and b[at] != quote:
        at += 2 if b[at] == BACKSLASH else 1
    return at + 1 if at < end else end


@cython.cfunc
@cython.exceptval(check=False)
def _past_token(b: cython.p_uchar, at: cython.Py_ssize_t, end: cython.Py_ssize_t) -> cython.Py_ssize_t:
    while at < end and not (b[at] == 0x3A or b[at] == 0x2C or b[at] == 0x7D or b[at] <= 0x20):
        at += 1
    return at


@cython.cfunc
@cython.exceptval(check=False)
def _copy(
    out: cython.p_uchar, to: cython.Py_ssize_t, b: cython.p_uchar, at: cython.Py_ssize_t, end: cython.Py_ssize_t
) -> cython.Py_ssize_t:
    while at < end:
        out[to] = b[at]
        to += 1
        at += 1
    return to


@cython.cfunc
@cython.exceptval(check=False)
def _put_quoted(
    out: cython.p_uchar, to: cython.Py_ssize_t, b: cython.p_uchar, at: cython.Py_ssize_t, end: cython.Py_ssize_t
) -> cython.Py_ssize_t:
    """What lies at [at, end) as a string."""
    out[to] = QUOTE
    to += 1
    while at < end:
        if b[at] == QUOTE or b[at] == BACKSLASH:
            out[to] = BACKSLASH
            to += 1
        out[to] = b[at]
        to += 1
        at += 1
    out[to] = QUOTE
    return to + 1


@cython.cfunc
@cython.exceptval(check=False)
def _put_string(
    out: cython.p_uchar, to: cython.Py_ssize_t, b: cython.p_uchar, at: cython.Py_ssize_t, end: cython.Py_ssize_t
) -> cython.Py_ssize_t:
    """The string in apostrophes at [at, end): \\' loses its backslash, a quote gets one."""
    out[to] = QUOTE
    to += 1
    at += 1
    while at < end - 1:
        if b[at] == BACKSLASH and b[at + 1] == APOSTROPHE:
            at += 1
        elif b[at] == BACKSLASH:
            out[to] = BACKSLASH
            to += 1
            at += 1
        elif b[at] == QUOTE:
            out[to] = BACKSLASH
            to += 1
        out[to] = b[at]
        to += 1
        at += 1
    out[to] = QUOTE
    return to + 1
