from core.message cimport Message
from core.turn cimport Servable


cdef class Source(Servable):
    cpdef wake(self, Consumer consumer)
    cpdef acknowledge(self, long long offset)
    cpdef reject(self, long long offset)
    cpdef give_back(self, long long offset)
    cpdef requeue(self, long long offset)
    cpdef all_back(self)


cdef class Gate:
    cdef public int limit, unacked
    cdef public list closed_out
    cpdef open(self)


cdef class Consumer:
    cdef public Source queue
    cdef public Gate gate
    cdef public bint no_ack, exclusive, available, stalled, cancelled
    cdef public int prefetch, unacked
    cdef public long long priority, timeout_ms
    cpdef bint can_take(self) except? -1
    cdef close_out(self)
    cpdef deliver(self, Message message, long long offset, bint redelivered)
    cpdef release(self)
