from core.message cimport Message
from protocols.peer cimport Peer


cdef class FrameWriter(Peer):
    cdef public Py_ssize_t frame_bytes
    cdef public object flow
    cdef public list confirming
    cdef public Py_ssize_t held_bytes
    cpdef holds(self, Py_ssize_t size)
    cpdef method(self, int channel, bytes payload)
    cdef content(self, int channel, Message message)
    cdef _body(self, int channel, bytes part)
    cdef _body_part(self, int channel, bytes part, Py_ssize_t start, Py_ssize_t size)
    cdef deliver(self, int channel, bytes tag, long long delivery_tag, bint redelivered, Message message)
    cdef ack(self, int channel, long long delivery_tag, bint multiple)
    cdef nack(self, int channel, long long delivery_tag)
