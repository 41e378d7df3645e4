from core.log.commit_log cimport CommitLog
from core.message cimport Message
from core.routing.router cimport Route
from core.turn cimport Turn


cdef class Publisher:
    cdef CommitLog log
    cdef Turn turn
    cdef long long[::1] _places
    cdef readonly long long messages, unroutable
    cpdef int publish(self, Message message, Route route) except? -1
    cdef _store(self, Message message, tuple durable)
