"""Heads of remoting frames going out: everything but the body, which is sent behind it from where it lies.

See frame.py for the bytes. JSON members come in the order in which fastjson writes them.
"""

from __future__ import annotations

import cython

from protocols.remoting.codes import LANGUAGES, VERSION

if cython.compiled:
    from cython.cimports.core.wire import put, take, wr8, wr16, wr32
    from cython.cimports.protocols.remoting.json_text import put_decimal, put_escaped
else:
    from core.wire import put, take, wr8, wr16, wr32
    from protocols.remoting.json_text import put_decimal, put_escaped

PREFIX_BYTES = cython.declare(cython.Py_ssize_t, 8)
ESCAPED_MAX = cython.declare(cython.Py_ssize_t, 6)  # bytes that one byte may need in a JSON string
ROOM = cython.declare(cython.Py_ssize_t, 256)  # for what is between the texts


@cython.final
@cython.cclass
class FrameWriter:
    """begin(), a field() or number() each, end(): the head of one frame. One writer serves all connections.

    Names and values are UTF-8 bytes. In a binary header an empty value is null to who reads it, as in RocketMQ.
    """

    def __init__(self, version: cython.int = VERSION, language: str = "JAVA"):
        self._out = bytearray(4096)
        self._version = version
        self._language = LANGUAGES.index(language)
        self._middle = b',"language":"%b","opaque":' % language.encode()
        self._tail = b',"serializeTypeCurrentRPC":"JSON","version":%d}' % version
        self._remark = None
        self._at = self._fields_at = 0
        self._kind = 0
        self._has_fields = False

    @cython.ccall
    def begin(
        self, kind: cython.int, code: cython.int, opaque: cython.longlong, flag: cython.int, remark: bytes | None = None
    ):
        """A head of that kind (frame.JSON or frame.ROCKETMQ)."""
        self._kind = kind
        self._has_fields = False
        self._at = PREFIX_BYTES
        self._remark = remark
        self._opaque = opaque
        self._flag = flag
        if kind == 0:
            self._literal(b'{"code":')
            self._decimal(code)
            return
        size: cython.Py_ssize_t = len(remark) if remark is not None else 0
        self._grow(size + ROOM)
        p: cython.p_uchar = self._out
        wr16(p, 8, code)
        wr8(p, 10, self._language)
        wr16(p, 11, self._version)
        wr32(p, 13, cython.cast(cython.uint, opaque))
        wr32(p, 17, cython.cast(cython.uint, flag))
        wr32(p, 21, size)
        if size:
            put(p, 25, remark)
        self._fields_at = 25 + size
        self._at = self._fields_at + 4

    @cython.ccall
    def field(self, name: bytes, value: bytes):
        """One field."""
        if self._kind == 0:
            self._name(name)
            self._string(value)
            return
        names: cython.Py_ssize_t = len(name)
        values: cython.Py_ssize_t = len(value)
        self._grow(names + values + ROOM)
        p: cython.p_uchar = self._out
        at: cython.Py_ssize_t = self._at
        wr16(p, at, names)
        put(p, at + 2, name)
        wr32(p, at + 2 + names, values)
        put(p, at + 6 + names, value)
        self._at = at + 6 + names + values

    @cython.ccall
    def number(self, name: bytes, value: cython.longlong):
        """One field that is an integer: text, as all are."""
        at: cython.Py_ssize_t
        if self._kind == 0:
            self._name(name)
            self._literal(b'"')
            self._decimal(value)
            self._literal(b'"')
            return
        names: cython.Py_ssize_t = len(name)
        self._grow(names + ROOM)
        p: cython.p_uchar = self._out
        at = self._at
        wr16(p, at, names)
        put(p, at + 2, name)
        self._at = at + 6 + names
        self._decimal(value)
        wr32(p, at + 2 + names, self._at - at - 6 - names)

    @cython.ccall
    def end(self, body_size: cython.Py_ssize_t) -> bytes:
        """The head, of a frame with so many bytes of body behind it."""
        if self._kind == 0:
            self._end_json()
        p: cython.p_uchar = self._out
        if self._kind != 0:
            wr32(p, self._fields_at, self._at - self._fields_at - 4)
        size: cython.Py_ssize_t = self._at - PREFIX_BYTES
        wr32(p, 0, 4 + size + body_size)
        wr32(p, 4, size)
        wr8(p, 4, self._kind)
        return take(p, 0, self._at)

    @cython.cfunc
    def _end_json(self):
        if self._has_fields:
            self._literal(b"}")
        self._literal(b',"flag":')
        self._decimal(self._flag)
        self._literal(self._middle)
        self._decimal(self._opaque)
        if self._remark is not None:
            self._literal(b',"remark":')
            self._string(self._remark)
        self._literal(self._tail)

    @cython.cfunc
    def _grow(self, size: cython.Py_ssize_t):
        """Have room for so many bytes more."""
        if self._at + size > len(self._out):
            self._out.extend(bytes(self._at + size))

    @cython.cfunc
    def _literal(self, text: bytes):
        self._grow(len(text) + ROOM)
        p: cython.p_uchar = self._out
        put(p, self._at, text)
        self._at += len(text)

    @cython.cfunc
    def _string(self, text: bytes):
        self._grow(ESCAPED_MAX * len(text) + ROOM)
        p: cython.p_uchar = self._out
        wr8(p, self._at, 0x22)
        at: cython.Py_ssize_t = put_escaped(p, self._at + 1, text)
        wr8(p, at, 0x22)
        self._at = at + 1

    @cython.cfunc
    def _name(self, name: bytes):
        self._literal(b"," if self._has_fields else b',"extFields":{')
        self._has_fields = True
        self._string(name)
        self._literal(b":")

    @cython.cfunc
    def _decimal(self, value: cython.longlong):
        """Digits; the least of all 64-bit numbers is not for us."""
        self._grow(ROOM)
        self._at = put_decimal(self._out, self._at, value)
