from core.log.tail cimport Tail
from core.message cimport Message
from core.queue.cursor cimport Cursor
from core.queue.index cimport Index
from core.turn cimport Servable, Turn


cdef class Gate:
    cdef public int limit, unacked
    cdef public list closed_out


cdef class Consumer:
    cdef public Queue queue
    cdef public Gate gate
    cdef public bint no_ack, exclusive, available, cancelled
    cdef public int prefetch, unacked
    cpdef bint can_take(self) except? -1
    cpdef deliver(self, Message message, long long offset, bint redelivered)
    cpdef release(self)


cdef class Queue(Servable):
    cdef readonly long long id
    cdef readonly bytes vhost
    cdef readonly str name
    cdef readonly bint durable
    cdef readonly Index index
    cdef readonly Cursor cursor
    cdef list _ring
    cdef long long _ring_base
    cdef public long long next, redelivered_below
    cdef list _returned
    cdef public Py_ssize_t ready, unacked
    cdef readonly list consumers
    cdef list _available, _parked
    cdef Py_ssize_t _at
    cdef public long long ttl_ms
    cdef Turn turn
    cdef Tail tail
    cdef public object cold, wake_at
    cdef public dict ahead
    cdef public bint reading, settled, deleted
    cdef public object owner
    cdef public long long published, delivered, acked, redelivered, expired, dropped_bytes, bytes_held
    cdef readonly long long code
    cpdef long long end(self) except? -1
    cpdef push(self, Message message, long long code)
    cdef Message _held(self, long long offset)
    cdef long long _first(self) except? -2
    cdef Message _ready_message(self, long long offset)
    cpdef int offer(self, Consumer consumer) except? -1
    cdef Consumer _pick(self)
    cpdef settle(self, long long offset)
    cpdef acknowledge(self, long long offset)
    cpdef give_back(self, long long offset)
    cpdef wake(self, Consumer consumer)
    cdef _forget(self)
    cdef _taken(self, long long offset)
