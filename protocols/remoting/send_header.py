"""The header of a send: SEND_MESSAGE with RocketMQ's own names, SEND_MESSAGE_V2 and SEND_BATCH_MESSAGE with letters.

Source: SendMessageRequestHeader, SendMessageRequestHeaderV2.
"""

from __future__ import annotations

import cython

from protocols.remoting.fields import FieldError

if cython.compiled:
    from cython.cimports.protocols.remoting.frame import Frame
else:
    from protocols.remoting.frame import Frame

NAMES = (
    *(b"producerGroup", b"topic", b"defaultTopic", b"defaultTopicQueueNums", b"queueId", b"sysFlag", b"bornTimestamp"),
    *(b"flag", b"properties", b"reconsumeTimes", b"unitMode", b"maxReconsumeTimes", b"batch"),
)
LETTERS = (b"a", b"b", b"c", b"d", b"e", b"f", b"g", b"h", b"i", b"j", b"k", b"l", b"m")
INT_MAX = cython.declare(cython.longlong, 2147483647)
INT_MIN = cython.declare(cython.longlong, -2147483648)


@cython.final
@cython.cclass
class SendHeader:
    """What read() found; one serves all sends, one after the other.

    properties             the text as it came; b"" when there is none
    max_reconsume_times    -1 = the sender does not say
    """

    def __init__(self):
        self._group = self.topic = self.default_topic = self.properties = b""
        self.queue_id = self.sys_flag = self.flag = self.reconsume_times = self.default_queues = 0
        self.max_reconsume_times = -1
        self.born_ms = 0
        self.unit = self.batch = False

    @cython.ccall
    def read(self, frame: Frame, names: tuple):
        """Take the fields of a send. Raises FieldError, which names the field."""
        self._group = frame.text_like(names[0], self._group)
        self.topic = frame.text_like(names[1], self.topic)
        self.default_topic = frame.text_like(names[2], self.default_topic)
        self.default_queues = number(frame, names[3])
        self.queue_id = number(frame, names[4])
        self.sys_flag = number(frame, names[5])
        self.born_ms = frame.number(names[6])
        self.flag = number(frame, names[7])
        properties = frame.get(names[8])
        self.properties = properties if properties is not None else b""
        self.reconsume_times = number_or(frame, names[9], 0)
        self.unit = frame.is_true(names[10])
        self.max_reconsume_times = number_or(frame, names[11], -1)
        self.batch = frame.is_true(names[12])


@cython.ccall
@cython.exceptval(-1, check=True)
def number(frame: Frame, name: bytes) -> cython.int:
    """An i32 that must be there. Raises FieldError."""
    return _narrow(frame.number(name), name)


@cython.ccall
@cython.exceptval(-1, check=True)
def number_or(frame: Frame, name: bytes, default: cython.int) -> cython.int:
    """An i32 that may be missing. Raises FieldError."""
    return _narrow(frame.number_or(name, default), name)


@cython.cfunc
@cython.exceptval(-1, check=True)
def _narrow(value: cython.longlong, name: bytes) -> cython.int:
    if value < INT_MIN or value > INT_MAX:
        raise FieldError(f"the custom field <{name.decode()}> is not a 32-bit number: {value}")
    return value


def is_true(frame: Frame, name: bytes) -> bool:
    """Frame.is_true(), as number() is spelt."""
    return bool(frame.is_true(name))
