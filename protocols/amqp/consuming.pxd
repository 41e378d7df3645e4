from core.consume cimport Unacked
from core.message cimport Message
from core.queue.consumer cimport Consumer, Gate
from protocols.amqp.frames cimport FrameWriter


cdef class Consuming


cdef class AmqpConsumer(Consumer):
    cdef FrameWriter output
    cdef Unacked held
    cdef object _consuming
    cdef readonly str tag
    cdef bytes _tag_bytes
    cdef int channel
    cdef Py_ssize_t _unacked_max
    cdef public dict arguments


cdef class Getter(Consumer):
    cdef FrameWriter output
    cdef Unacked held
    cdef object _done
    cdef Consuming _consuming
    cdef Gate _waiting_gate
    cdef int channel


cdef class Consuming:
    cdef FrameWriter output
    cdef int channel
    cdef readonly object broker
    cdef readonly object vhost, connection
    cdef object user
    cdef readonly Unacked held
    cdef readonly Gate gate
    cdef public dict consumers
    cdef readonly int prefetch
    cdef public object transaction, publishing
    cdef readonly object replies
    cdef bint _cancel_notify
    cpdef settle(self, int method, long long tag, int bits)
