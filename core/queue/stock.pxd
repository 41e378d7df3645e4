from core.log.tail cimport Tail
from core.message cimport Message
from core.queue.consumer cimport Source
from core.queue.counts cimport Counts
from core.queue.cursor cimport Cursor
from core.queue.held cimport Held
from core.queue.index cimport Index
from core.queue.levels cimport Levels
from core.queue.limits cimport Limits
from core.queue.overtaking cimport Overtaking
from core.routing.once cimport Keys
from core.turn cimport Turn

cpdef enum:
    BURYING_MAX = 2000


cdef class Stock(Source):
    cdef readonly long long id
    cdef readonly bytes vhost
    cdef readonly str name
    cdef readonly bint durable
    cdef readonly Index index
    cdef readonly Cursor cursor
    cdef public Counts counts
    cdef readonly Held held
    cdef public Levels levels
    cdef readonly Keys keys
    cdef public object key_of
    cdef readonly Overtaking overtaking
    cdef readonly Limits limits
    cdef public long long next, redelivered_below
    cdef list _returned
    cdef readonly set aside
    cdef public Py_ssize_t ready, unacked
    cdef readonly Py_ssize_t delayed
    cdef public long long ttl_ms
    cdef Turn turn
    cdef Tail tail
    cdef public object cold, wake_at
    cdef public long long gathered
    cdef readonly bint codes_all
    cdef public dict ahead
    cdef public bint reading, settled, deleted
    cdef bint _expiring, _held_up
    cdef public object letters
    cdef readonly object settings
    cdef public tuple dead_letter
    cdef public Py_ssize_t burying
    cdef public long long acked, expired, lost
    cdef readonly long long code
    cpdef long long end(self) except? -1
    cpdef long long code_of(self, Message message) except? -1
    cpdef long long head(self) except? -2
    cdef long long _first(self) except? -2
    cdef long long _first_of_levels(self) except? -2
    cdef Message _ready_message(self, long long offset)
    cdef int _missing(self, long long offset) except? -1
    cdef Py_ssize_t _body_size(self, long long offset) except? -1
    cdef bint _sized(self, long long offset) except? -1
    cdef _taken(self, long long offset)
    cpdef settle(self, long long offset)
    cpdef settle_moved(self, long long offset, bint stated)
    cpdef drop(self, long long offset, str reason)
    cpdef buried(self)
    cpdef Message message_at(self, long long offset)
    cdef _forget(self, long long offset)
    cdef _progressed(self)
    cpdef acknowledge(self, long long offset)
    cpdef reject(self, long long offset)
