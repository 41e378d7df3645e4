from protocols.amqp.channel cimport Channel
from protocols.amqp.frames cimport FrameWriter

cdef enum:
    NEW = 0
    HANDSHAKE = 1
    OPEN = 2
    CLOSING = 3
    ENDED = 4


cdef class AmqpConnection(FrameWriter):
    cdef readonly object broker, vhost, user
    cdef readonly dict channels
    cdef int _state
    cdef Py_ssize_t _at
    cdef Py_ssize_t _held_max
    cdef Channel _last
    cdef public object login
    cdef readonly dict client_properties
    cdef readonly int channel_max, heartbeat
    cdef readonly str name, close_reason
    cdef bint _heard, _sent, _told_blocked, _closing_first
    cdef double _deadline, _last_heard, _last_sent, _cut_off_at
    cdef _frames(self, bytearray buffer, Py_ssize_t end)
    cdef _frame(self, int kind, int number, bytearray b, Py_ssize_t at, Py_ssize_t end)
    cdef _on_channel(self, int kind, int number, bytearray b, Py_ssize_t at, Py_ssize_t end)
    cpdef Py_ssize_t receive(self, bytearray buffer, Py_ssize_t start, Py_ssize_t end) except? -1
    cpdef holds(self, Py_ssize_t size)
    cpdef before_flush(self)
