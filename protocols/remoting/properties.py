"""A native message's properties: text of `name 0x01 value 0x02`, one behind the other, in UTF-8.

    TAGS 01 TagA 02 KEYS 01 k1 k2 02 UNIQ_KEY 01 7F00… 02      the last 0x02 may be missing

Of two with one name the last counts; an entry without a name, a value or what separates them says nothing. Source:
RocketMQ's MessageDecoder.string2messageProperties, MessageConst.
"""

from __future__ import annotations

from array import array

import cython

if cython.compiled:
    from cython.cimports.core.native import java_hash
    from cython.cimports.core.wire import same, take
    from cython.cimports.protocols.remoting.json_text import find_byte
else:
    from core.native import java_hash
    from core.wire import same, take
    from protocols.remoting.json_text import find_byte

    TAGS, KEYS, UNIQ_KEY, DELAY, TRAN_MSG, MSG_REGION, TRACE_ON, CLUSTER, POP_CK = range(9)
    TIMER_DELAY_SEC, TIMER_DELAY_MS, TIMER_DELIVER_MS, TIMER_OUT_MS, TIMER_DEL_UNIQKEY = range(9, 14)
    RETRY_TOPIC, ORIGIN_MESSAGE_ID, REAL_TOPIC, REAL_QID, INNER_NUM, INNER_MULTI_DISPATCH, PGROUP = range(14, 21)

NAMES = (
    *(b"TAGS", b"KEYS", b"UNIQ_KEY", b"DELAY", b"TRAN_MSG", b"MSG_REGION", b"TRACE_ON", b"CLUSTER", b"POP_CK"),
    *(b"TIMER_DELAY_SEC", b"TIMER_DELAY_MS", b"TIMER_DELIVER_MS", b"TIMER_OUT_MS", b"TIMER_DEL_UNIQKEY"),
    *(b"RETRY_TOPIC", b"ORIGIN_MESSAGE_ID", b"REAL_TOPIC", b"REAL_QID", b"INNER_NUM", b"INNER_MULTI_DISPATCH"),
    b"PGROUP",
)  # by number: those that the broker looks at
NAME_END, VALUE_END = cython.declare(cython.uchar, 1), cython.declare(cython.uchar, 2)
NAME_BYTES_MAX = cython.declare(cython.Py_ssize_t, 20)
TEXT_BYTES_MAX = 32767  # of all properties of one message: a record counts them in a signed 16-bit field


def _by_size() -> list[tuple[tuple[bytes, int], ...]]:
    sizes = range(NAME_BYTES_MAX + 1)
    return [tuple((name, number) for number, name in enumerate(NAMES) if len(name) == size) for size in sizes]


BY_SIZE = cython.declare(list, _by_size())


@cython.final
@cython.cclass
class Properties:
    """Where in a text the known properties are: read() finds all in one pass, and makes no value before one is asked
    for. One serves all messages, one after the other.

    known    a bit for each of NAMES that is there
    """

    def __init__(self):
        self._memory = array("q", bytes(16 * len(NAMES)))
        self._places = self._memory
        self._text = b""
        self.known = 0

    @cython.ccall
    def read(self, text: bytes):
        """Look through the text of one message."""
        self._text = text
        self.known = 0
        b: cython.p_uchar = text
        size: cython.Py_ssize_t = len(text)
        at: cython.Py_ssize_t = 0
        stop: cython.Py_ssize_t
        name_end: cython.Py_ssize_t
        while at < size:
            stop = find_byte(b, at, size, VALUE_END)
            if stop < 0:
                stop = size
            name_end = find_byte(b, at, stop, NAME_END)
            if at < name_end < stop - 1 and name_end - at <= NAME_BYTES_MAX:
                self._note(b, at, name_end, stop)
            at = stop + 1

    @cython.cfunc
    @cython.boundscheck(False)
    @cython.wraparound(False)
    def _note(self, b: cython.p_uchar, at: cython.Py_ssize_t, name_end: cython.Py_ssize_t, stop: cython.Py_ssize_t):
        candidates: tuple = BY_SIZE[name_end - at]
        number: cython.Py_ssize_t
        text: cython.p_uchar
        for item in candidates:
            candidate: tuple = item
            name: bytes = candidate[0]
            text = name
            if b[at] == text[0] and same(b, at, name_end - at, name):
                number = candidate[1]
                self.known |= cython.cast(cython.ulonglong, 1) << number
                self._places[2 * number] = name_end + 1
                self._places[2 * number + 1] = stop - name_end - 1

    @cython.ccall
    @cython.exceptval(check=False)
    def has(self, which: cython.int) -> cython.bint:
        """Whether that one of NAMES is there."""
        return self.known >> which & 1 != 0

    @cython.ccall
    @cython.boundscheck(False)
    @cython.wraparound(False)
    def value(self, which: cython.int):
        """Its value, or None."""
        if not self.has(which):
            return None
        return take(self._text, self._places[2 * which], self._places[2 * which + 1])

    @cython.ccall
    @cython.exceptval(-1, check=True)
    def tags_code(self) -> cython.longlong:
        """What filters by tag look at: the hash of TAGS, 0 without."""
        return java_hash(self.value(TAGS)) if self.has(TAGS) else 0

    @cython.ccall
    @cython.exceptval(-1)
    def flag(self, which: cython.int) -> cython.bint:
        """Whether its value is `true`, in any case (Boolean.parseBoolean)."""
        text = self.value(which)
        return text is not None and cython.cast(bytes, text).lower() == b"true"


@cython.ccall
def closed(text: bytes) -> bytes:
    """The text, such that another entry may follow it."""
    if not text or text[len(text) - 1] == VALUE_END:
        return text
    return text + b"\x02"


def entry(name: bytes, value: bytes) -> bytes:
    """One entry."""
    return b"%b\x01%b\x02" % (name, value)


def without(text: bytes, *names: bytes) -> bytes:
    """The text without the entries of these names."""
    heads = tuple(name + b"\x01" for name in names)
    return b"".join(piece + b"\x02" for piece in text.split(b"\x02") if piece and not piece.startswith(heads))


def put(text: bytes, name: bytes, value: bytes) -> bytes:
    """The text with that value under that name, whatever was there before."""
    return without(text, name) + entry(name, value)


def get(text: bytes, name: bytes) -> bytes | None:
    """The value under that name, known or not, or None."""
    return as_dict(text).get(name)


def as_dict(text: bytes) -> dict[bytes, bytes]:
    """All that it says."""
    found: dict[bytes, bytes] = {}
    for piece in text.split(b"\x02"):
        name, _, value = piece.partition(b"\x01")
        if name and value:
            found[name] = value
    return found
