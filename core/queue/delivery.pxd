from core.log.tail cimport Tail
from core.message cimport Message
from core.queue.consumer cimport Consumer, Source
from core.queue.cursor cimport Cursor
from core.queue.held cimport Held
from core.queue.index cimport Index
from core.queue.ring cimport Ring
from core.turn cimport Turn


cdef class Queue(Source):
    cdef readonly long long id
    cdef readonly bytes vhost
    cdef readonly str name
    cdef readonly bint durable
    cdef readonly Index index
    cdef readonly Cursor cursor
    cdef readonly Held held
    cdef public long long next, redelivered_below
    cdef list _returned
    cdef public Py_ssize_t ready, unacked
    cdef readonly list consumers
    cdef readonly Ring ring
    cdef list _parked
    cdef public long long ttl_ms
    cdef Turn turn
    cdef Tail tail
    cdef public object cold, wake_at
    cdef public dict ahead
    cdef public bint reading, stopped, settled, deleted
    cdef bint _expiring
    cdef public object owner
    cdef readonly object settings
    cdef public long long published, delivered, acked, redelivered, expired
    cdef readonly long long code
    cpdef long long end(self) except? -1
    cdef long long code_of(self, Message message) except? -1
    cpdef push(self, Message message, long long code)
    cdef long long _first(self) except? -2
    cdef Message _ready_message(self, long long offset)
    cpdef int offer(self, Consumer consumer) except? -1
    cpdef settle(self, long long offset)
    cpdef acknowledge(self, long long offset)
    cpdef give_back(self, long long offset)
    cpdef wake(self, Consumer consumer)
    cdef _progressed(self)
    cdef _watch(self)
    cdef int _serve_parked(self, int budget) except? -1
    cdef _taken(self, long long offset)
