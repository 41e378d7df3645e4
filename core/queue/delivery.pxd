from core.log.tail cimport Tail
from core.message cimport Message
from core.queue.bounded cimport Bounded
from core.queue.consumer cimport Consumer
from core.queue.ring cimport Ring
from core.turn cimport Turn


cdef class Queue(Bounded):
    cdef readonly list consumers
    cdef readonly Ring ring
    cdef list _parked
    cdef public bint stopped
    cdef public object owner
    cdef public long long published, delivered, redelivered
    cpdef push(self, Message message, long long code)
    cdef _entered(self, Message message)
    cpdef bint refuses(self, Message message) except? -1
    cdef _hand_out(self, Py_ssize_t count, Py_ssize_t size)
    cpdef int offer(self, Consumer consumer) except? -1
    cpdef give_back(self, long long offset)
    cpdef requeue(self, long long offset)
    cpdef all_back(self)
    cdef _again(self, long long offset)
    cpdef wake(self, Consumer consumer)
    cdef int _serve_parked(self, int budget) except? -1
