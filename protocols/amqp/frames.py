"""AMQP 0-9-1 frames going out (spec 4.2.3), written straight into the connection's output.

0      1         3      7         7+size   8+size
| type | channel | size | payload | 0xCE   |
"""

from __future__ import annotations

import cython

if cython.compiled:
    from cython.cimports.core.message import Message
    from cython.cimports.core.wire import put, wr8, wr16, wr32, wr64
    from cython.cimports.protocols.peer import Peer
else:
    from core.message import Message
    from core.wire import put, wr8, wr16, wr32, wr64
    from protocols.peer import Peer

METHOD, HEADER, BODY, HEARTBEAT = 1, 2, 3, 8
FRAME_END = 0xCE
HEADER_BYTES = 7
OVERHEAD_BYTES = HEADER_BYTES + 1
FRAME_BYTES_MIN = 4096  # what every peer must accept before tune
HEARTBEAT_FRAME = b"\x08\x00\x00\x00\x00\x00\x00\xce"
NO_PROPERTIES = b"\x00\x00"  # no property flag is set
COPIED_BYTES_MAX = 16384


@cython.cclass
class FrameWriter(Peer):
    """The output half of an AMQP connection: frames of at most `frame_bytes`, headers and body parts included."""

    def __init__(self, turn, flow):
        Peer.__init__(self, turn)
        self.frame_bytes = FRAME_BYTES_MIN
        self.flow = flow  # core.flow: whether publishers are blocked
        self.confirming = []  # channels with confirms to write before the flush
        self.held_bytes = 0  # of frames that wait for a commit or for the end of an alarm

    @cython.ccall
    def holds(self, size: cython.Py_ssize_t):
        """Frames of `size` bytes more (or less) wait in memory."""
        raise NotImplementedError

    @cython.ccall
    def method(self, channel: cython.int, payload: bytes):
        """A method frame."""
        size: cython.Py_ssize_t = len(payload)
        at: cython.Py_ssize_t = self.reserve(size + 8)
        p: cython.p_uchar = self._out
        wr8(p, at, 1)
        wr16(p, at + 1, channel)
        wr32(p, at + 3, size)
        put(p, at + 7, payload)
        wr8(p, at + 7 + size, 0xCE)

    @cython.cfunc
    def content(self, channel: cython.int, message: Message):
        """The content header and the body of a message, in as many frames as the agreed size asks for."""
        header: bytes = message.header if message.header else NO_PROPERTIES
        size: cython.Py_ssize_t = len(header)
        at: cython.Py_ssize_t = self.reserve(size + 20)
        p: cython.p_uchar = self._out
        wr8(p, at, 2)
        wr16(p, at + 1, channel)
        wr32(p, at + 3, size + 12)
        wr32(p, at + 7, 60 << 16)
        wr64(p, at + 11, message.body_size)
        put(p, at + 19, header)
        wr8(p, at + 19 + size, 0xCE)
        if message.body_size == 0:
            return
        if isinstance(message.body, bytes):
            self._body(channel, message.body)
            return
        parts: tuple = message.body
        for item in parts:
            self._body(channel, item)

    @cython.cfunc
    def _body(self, channel: cython.int, part: bytes):
        """A body, or a part of one, in as many frames as it takes."""
        limit: cython.Py_ssize_t = self.frame_bytes - 8
        start: cython.Py_ssize_t = 0
        total: cython.Py_ssize_t = len(part)
        while start < total:
            chunk: cython.Py_ssize_t = total - start if total - start < limit else limit
            self._body_part(channel, part, start, chunk)
            start += chunk

    @cython.cfunc
    def _body_part(self, channel: cython.int, part: bytes, start: cython.Py_ssize_t, size: cython.Py_ssize_t):
        """One body frame holding part[start : start + size]; a large one is not copied."""
        large: cython.bint = size > 16384
        at: cython.Py_ssize_t = self.reserve(7 if large else size + 8)
        p: cython.p_uchar = self._out
        wr8(p, at, 3)
        wr16(p, at + 1, channel)
        wr32(p, at + 3, size)
        if large:
            self.add_piece(part if size == len(part) else memoryview(part)[start : start + size])
            at = self.reserve(1)
            p = self._out
            wr8(p, at, 0xCE)
            return
        if size == len(part):
            put(p, at + 7, part)
        else:
            put(p, at + 7, part[start : start + size])
        wr8(p, at + 7 + size, 0xCE)

    @cython.cfunc
    def deliver(
        self, channel: cython.int, tag: bytes, delivery_tag: cython.longlong, redelivered: cython.bint, message: Message
    ):
        """basic.deliver (60, 60) with its content. `tag` is the consumer tag as a short string, its size included."""
        tag_size: cython.Py_ssize_t = len(tag)
        exchange_size: cython.Py_ssize_t = len(message.exchange)
        key_size: cython.Py_ssize_t = len(message.routing_key)
        size: cython.Py_ssize_t = 4 + tag_size + 9 + 1 + exchange_size + 1 + key_size
        at: cython.Py_ssize_t = self.reserve(size + 8)
        p: cython.p_uchar = self._out
        wr8(p, at, 1)
        wr16(p, at + 1, channel)
        wr32(p, at + 3, size)
        wr32(p, at + 7, (60 << 16) | 60)
        at += 11
        put(p, at, tag)
        at += tag_size
        wr64(p, at, delivery_tag)
        wr8(p, at + 8, 1 if redelivered else 0)
        wr8(p, at + 9, exchange_size)
        put(p, at + 10, message.exchange)
        at += 10 + exchange_size
        wr8(p, at, key_size)
        put(p, at + 1, message.routing_key)
        wr8(p, at + 1 + key_size, 0xCE)
        self.content(channel, message)

    @cython.cfunc
    def ack(self, channel: cython.int, delivery_tag: cython.longlong, multiple: cython.bint):
        """basic.ack (60, 80): a confirm."""
        at: cython.Py_ssize_t = self.reserve(21)
        p: cython.p_uchar = self._out
        wr8(p, at, 1)
        wr16(p, at + 1, channel)
        wr32(p, at + 3, 13)
        wr32(p, at + 7, (60 << 16) | 80)
        wr64(p, at + 11, delivery_tag)
        wr8(p, at + 19, 1 if multiple else 0)
        wr8(p, at + 20, 0xCE)

    @cython.cfunc
    def nack(self, channel: cython.int, delivery_tag: cython.longlong):
        """basic.nack (60, 120): a message that was not taken in."""
        at: cython.Py_ssize_t = self.reserve(21)
        p: cython.p_uchar = self._out
        wr8(p, at, 1)
        wr16(p, at + 1, channel)
        wr32(p, at + 3, 13)
        wr32(p, at + 7, (60 << 16) | 120)
        wr64(p, at + 11, delivery_tag)
        wr8(p, at + 19, 0)
        wr8(p, at + 20, 0xCE)
