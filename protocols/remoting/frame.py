"""One frame of RocketMQ's remoting protocol, read in place: nothing is copied until a handler asks for it.

    0          4      5            8        8+h      4+n
    | n u32    | kind | h u24      | header | body   |      n counts from the byte 4 on

    kind 0  JSON: {"code":…,"language":…,"version":…,"opaque":…,"flag":…,"remark":…,"extFields":{name: text}}
    kind 1  ROCKETMQ: code i16 | language u8 | version i16 | opaque i32 | flag i32 | remark i32 + text
                      | bytes of all fields i32 | (name i16 + text, value i32 + text)*

Every frame says its own kind. Codes above 32,767 do not fit the second. Source: RemotingCommand, RocketMQSerializable.
"""

from __future__ import annotations

import cython

from protocols.remoting.codes import LANGUAGES
from protocols.remoting.fields import FrameError, as_text

if cython.compiled:
    from cython.cimports.core.wire import rd8, rd16, rd32, same, take
    from cython.cimports.protocols.remoting.fields import ESCAPED, NULL, PLAIN, Fields, decimal, has_escape
    from cython.cimports.protocols.remoting.json_text import is_ascii, past_blanks, string_end, value_end
else:
    from core.wire import rd8, rd16, rd32, same, take
    from protocols.remoting.fields import ESCAPED, NULL, PLAIN, Fields, decimal, has_escape
    from protocols.remoting.json_text import is_ascii, past_blanks, string_end, value_end

JSON, ROCKETMQ = 0, 1
FRAME_BYTES_MAX = 16 << 20  # RocketMQ's com.rocketmq.remoting.frameMaxLength, the length itself included
LENGTH_BYTES = cython.declare(cython.Py_ssize_t, 4)
PREFIX_BYTES = cython.declare(cython.Py_ssize_t, 8)
BINARY_BYTES = cython.declare(cython.Py_ssize_t, 21)  # of a binary header without remark and fields
RESPONSE_BIT, ONEWAY_BIT = 1, 2
INT_MIN = cython.declare(cython.longlong, -2147483648)
INT_MAX = cython.declare(cython.longlong, 2147483647)
QUOTE = cython.declare(cython.uchar, 0x22)


@cython.final
@cython.cclass
class Frame(Fields):
    """What take() found; it points into the buffer and is valid until the buffer changes or take() is called again.

    kind          JSON or ROCKETMQ
    code          of a request what is asked for, of a response how it went
    version       MQVersion of who sent it
    opaque        what a response repeats; i32
    body_at       place of the body in the buffer, `body_size` bytes
    field_count   how many fields the header has
    """

    def __init__(self, frame_bytes_max: cython.Py_ssize_t = FRAME_BYTES_MAX):
        Fields.__init__(self)
        self.frame_bytes_max = frame_bytes_max
        self._clear()

    @cython.cfunc
    def _clear(self):
        self.kind = self.code = self.version = self.opaque = self.flag = 0
        self.field_count = self._language = 0
        self._remark_at = self._remark_size = 0
        self._remark_form = NULL
        self._language_at = -1

    @cython.ccall
    @cython.exceptval(-1)
    def take(self, buffer: bytearray, start: cython.Py_ssize_t, end: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """Read the frame that begins at `start` of buffer[:end]; return its bytes, or 0 if it is not all there yet.

        Raises FrameError as soon as what is there shows that it cannot be one.
        """
        b: cython.p_uchar = buffer
        if end - start < LENGTH_BYTES:
            return 0
        size: cython.Py_ssize_t = LENGTH_BYTES + rd32(b, start)
        if size > self.frame_bytes_max:
            raise FrameError(f"frame of {size} bytes exceeds {self.frame_bytes_max}")
        if size < PREFIX_BYTES:
            raise FrameError(f"frame of {size} bytes has no room for its header's length")
        if end - start < PREFIX_BYTES:
            return 0
        kind: cython.int = rd8(b, start + LENGTH_BYTES)
        header_size: cython.Py_ssize_t = rd32(b, start + LENGTH_BYTES) & 0xFFFFFF
        if kind > 1:
            raise FrameError(f"header of kind {kind}, which is neither JSON (0) nor ROCKETMQ (1)")
        if header_size > size - PREFIX_BYTES:
            raise FrameError(f"header of {header_size} bytes in a frame of {size}")
        if end - start < size:
            return 0
        self._clear()
        self.kind = kind
        self.buffer = buffer
        at: cython.Py_ssize_t = start + PREFIX_BYTES
        self.body_at = at + header_size
        self.body_size = start + size - self.body_at
        if kind == 0 and not is_ascii(b, at, self.body_at):
            self._check_utf8(at, self.body_at)
        if kind == 1:
            self._read_binary(b, at, self.body_at)
        else:
            self._read_json(b, at, self.body_at)
        return size

    @cython.cfunc
    def _check_utf8(self, at: cython.Py_ssize_t, end: cython.Py_ssize_t):
        """A binary header has numbers between its texts: there each is checked when it is read."""
        try:
            take(self.buffer, at, end - at).decode()
        except UnicodeDecodeError as error:
            raise FrameError(f"header is not UTF-8: {error.reason}") from None

    @cython.cfunc
    def _read_binary(self, b: cython.p_uchar, at: cython.Py_ssize_t, end: cython.Py_ssize_t):
        if end - at < BINARY_BYTES:
            raise FrameError(f"binary header of {end - at} bytes is cut short")
        self.code = signed16(rd16(b, at))
        self._language = rd8(b, at + 2)
        self.version = signed16(rd16(b, at + 3))
        self.opaque = signed32(rd32(b, at + 5))
        self.flag = signed32(rd32(b, at + 9))
        size: cython.longlong = signed32(rd32(b, at + 13))
        at += 17
        if size < 0 or size > end - at - 4:
            raise FrameError(f"remark of {size} bytes in a binary header that is shorter")
        self._remark_at = at
        self._remark_size = size
        self._remark_form = PLAIN if size else NULL
        at += size
        size = signed32(rd32(b, at))
        at += 4
        if size > end - at:
            raise FrameError(f"fields of {size} bytes in a binary header that is shorter")
        if size > 0:
            self._read_binary_fields(b, at, at + size)

    @cython.cfunc
    def _read_binary_fields(self, b: cython.p_uchar, at: cython.Py_ssize_t, end: cython.Py_ssize_t):
        name_at: cython.Py_ssize_t
        name_size: cython.Py_ssize_t
        value_size: cython.longlong
        while at < end:
            name_at = at + 2
            name_size = rd16(b, at) if name_at <= end else 0
            at = name_at + name_size
            if at + 4 > end:
                raise FrameError("a field's name in a binary header is cut short")
            value_size = signed32(rd32(b, at))
            at += 4
            if value_size < 0 or value_size > end - at:
                raise FrameError("a field's value in a binary header is cut short")
            self._add(name_at, name_size, at, value_size, PLAIN if value_size else NULL)
            at += value_size

    @cython.cfunc
    def _read_json(self, b: cython.p_uchar, at: cython.Py_ssize_t, end: cython.Py_ssize_t):
        at = self._members(b, past_blanks(b, at, end), end, False)
        if past_blanks(b, at, end) != end:
            raise FrameError("something follows the header's JSON object")

    @cython.cfunc
    @cython.exceptval(-1)
    def _members(
        self, b: cython.p_uchar, at: cython.Py_ssize_t, end: cython.Py_ssize_t, inner: cython.bint
    ) -> cython.Py_ssize_t:
        """Read the object at `at`, the header or (inner) its fields, and return the place behind it."""
        if at >= end or b[at] != 0x7B:
            raise FrameError("header is no JSON object")
        at = past_blanks(b, at + 1, end)
        if at < end and b[at] == 0x7D:
            return at + 1
        name_at: cython.Py_ssize_t
        name_end: cython.Py_ssize_t
        while True:
            if at >= end or b[at] != QUOTE:
                raise FrameError("header's JSON is broken: no name where one must be")
            name_at = at + 1
            name_end = string_end(b, name_at, end)
            at = past_blanks(b, name_end + 1, end) if name_end >= 0 else end
            if at >= end or b[at] != 0x3A:
                raise FrameError("header's JSON is broken: no colon behind a name")
            at = past_blanks(b, at + 1, end)
            if inner:
                at = self._field(b, name_at, name_end - name_at, at, end)
            else:
                at = self._member(b, name_at, name_end - name_at, at, end)
            at = past_blanks(b, at, end)
            if at < end and b[at] == 0x7D:
                return at + 1
            if at >= end or b[at] != 0x2C:
                raise FrameError("header's JSON is broken: neither comma nor brace behind a value")
            at = past_blanks(b, at + 1, end)

    @cython.cfunc
    @cython.exceptval(-1)
    def _field(
        self, b: cython.p_uchar, name_at: cython.Py_ssize_t, name_size: cython.Py_ssize_t, at: cython.Py_ssize_t,
        end: cython.Py_ssize_t,
    ) -> cython.Py_ssize_t:  # fmt: skip
        """A field's value at `at`: a string, or whatever else as it is written. Return the place behind it."""
        stop: cython.Py_ssize_t
        if at < end and b[at] == QUOTE:
            stop = string_end(b, at + 1, end)
            if stop < 0:
                raise FrameError("header's JSON is broken: a string without its end")
            self._add(name_at, name_size, at + 1, stop - at - 1, ESCAPED if has_escape(b, at + 1, stop) else PLAIN)
            return stop + 1
        stop = value_end(b, at, end)
        if stop < 0:
            raise FrameError("header's JSON is broken: a value without its end")
        self._add(name_at, name_size, at, stop - at, NULL if same(b, at, stop - at, b"null") else PLAIN)
        return stop

    @cython.cfunc
    @cython.exceptval(-1)
    def _member(
        self, b: cython.p_uchar, name_at: cython.Py_ssize_t, name_size: cython.Py_ssize_t, at: cython.Py_ssize_t,
        end: cython.Py_ssize_t,
    ) -> cython.Py_ssize_t:  # fmt: skip
        """A value of the header itself, at `at`; what we do not know is skipped. Return the place behind it."""
        if same(b, name_at, name_size, b"extFields") and at < end and b[at] != 0x6E:  # not null
            self.field_count = 0
            return self._members(b, at, end, True)
        stop: cython.Py_ssize_t = value_end(b, at, end)
        if stop < 0:
            raise FrameError("header's JSON is broken: a value without its end")
        if same(b, name_at, name_size, b"code"):
            self.code = self._integer(b, at, stop)
        elif same(b, name_at, name_size, b"opaque"):
            self.opaque = self._integer(b, at, stop)
        elif same(b, name_at, name_size, b"flag"):
            self.flag = self._integer(b, at, stop)
        elif same(b, name_at, name_size, b"version"):
            self.version = self._integer(b, at, stop)
        elif b[at] == QUOTE and same(b, name_at, name_size, b"language"):
            self._language_at = at + 1
            self._language = stop - at - 2
        elif b[at] == QUOTE and same(b, name_at, name_size, b"remark"):
            self._remark_at = at + 1
            self._remark_size = stop - at - 2
            self._remark_form = ESCAPED if has_escape(b, at + 1, stop - 1) else PLAIN
        return stop

    @cython.cfunc
    @cython.exceptval(-1, check=True)
    def _integer(self, b: cython.p_uchar, at: cython.Py_ssize_t, end: cython.Py_ssize_t) -> cython.longlong:
        """The i32 that a header's value says, as a number or as a string; null is 0."""
        if same(b, at, end - at, b"null"):
            return 0
        if b[at] == QUOTE:
            at += 1
            end -= 1
        value: cython.longlong = decimal(b, at, end)
        if value < INT_MIN or value > INT_MAX:
            raise FrameError("header's JSON has no 32-bit integer where one must be")
        return value

    @property
    def is_response(self) -> bool:
        """Whether it answers a request of ours."""
        return bool(self.flag & RESPONSE_BIT)

    @property
    def is_oneway(self) -> bool:
        """Whether nobody waits for an answer."""
        return bool(self.flag & ONEWAY_BIT)

    @property
    def language(self) -> str:
        """What the sender is written in, as RocketMQ spells it; empty if it does not say."""
        if self._language_at >= 0:
            return take(self.buffer, self._language_at, self._language).decode()
        return LANGUAGES[self._language] if self.kind == ROCKETMQ and self._language < len(LANGUAGES) else ""

    @property
    def remark(self) -> str | None:
        """The text that came with it."""
        text = self._text(self._remark_at, self._remark_size, self._remark_form)
        return None if text is None else as_text(text)

    def body(self) -> bytes:
        """A copy of the body."""
        return take(self.buffer, self.body_at, self.body_size)


@cython.cfunc
@cython.exceptval(check=False)
def signed16(value: cython.uint) -> cython.int:
    """The two's complement of 16 bits."""
    number: cython.int = value & 0x7FFF
    return number - 32768 if value & 0x8000 else number


@cython.cfunc
@cython.exceptval(check=False)
def signed32(value: cython.longlong) -> cython.longlong:
    """The two's complement of 32 bits."""
    return value - 4294967296 if value > INT_MAX else value
