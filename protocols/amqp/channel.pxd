from core.flow cimport Flow
from core.log.commit_log cimport CommitLog
from protocols.amqp.consuming cimport Consuming
from protocols.amqp.frames cimport FrameWriter
from protocols.amqp.publishing cimport Publishing
from protocols.amqp.waiting cimport WaitingFrames

cpdef enum:
    PUBLISH = (60 << 16) | 40
    ACK = (60 << 16) | 80
    REJECT = (60 << 16) | 90
    NACK = (60 << 16) | 120
    CLOSE = (20 << 16) | 40
    TX_SELECT = (90 << 16) | 10
    TX_COMMIT = (90 << 16) | 20


cdef class Channel:
    cdef readonly int number
    cdef readonly unsigned int ids
    cdef FrameWriter output
    cdef object connection, declaring, broker
    cdef Flow flow
    cdef CommitLog log
    cdef readonly Publishing publishing
    cdef readonly Consuming consuming
    cdef public bint closing
    cdef readonly bint waiting
    cdef WaitingFrames _held
    cdef bint _content_held, _forced, _select_held
    cdef readonly object transaction
    cdef public str last_queue
    cdef object _getter
    cpdef frame(self, int kind, bytearray b, Py_ssize_t at, Py_ssize_t end)
    cpdef resume(self)
    cdef _hold(self, int kind, bytearray b, Py_ssize_t at, Py_ssize_t end)
    cdef _forget_held(self)
    cdef bint _publishes_at_commit(self, unsigned int ids) except? -1
    cdef _execute(self, int kind, bytearray b, Py_ssize_t at, Py_ssize_t end)
    cdef bint _must_hold(self, int kind, bytearray b, Py_ssize_t at, Py_ssize_t end) except? -1
    cdef _method(self, bytearray b, Py_ssize_t at, Py_ssize_t end)
