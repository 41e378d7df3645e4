from core.log.commit_log cimport CommitLog
from core.message cimport Message
from core.queue.delivery cimport Queue
from core.routing.router cimport Route
from core.turn cimport Turn


cdef class Publisher:
    cdef CommitLog log
    cdef Turn turn
    cdef long long[::1] _places
    cdef readonly long long messages, unroutable, duplicates
    cpdef int publish(self, Message message, Route route) except? -1
    cpdef int move(self, Message message, Route route, Queue source, long long offset) except? -1
    cdef list _full(self, Message message, tuple queues)
    cdef _push(self, Message message, tuple queues)
    cdef _store(self, Message message, tuple durable, Queue source, long long offset)
