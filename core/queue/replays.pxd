from core.message cimport Message
from core.queue.consumer cimport Consumer, Source
from core.turn cimport Servable, Turn


cdef class Replay(Source):
    cdef public Consumer consumer
    cdef readonly Replays replays
    cdef public str title
    cdef public bint reading, idle, more, closed, lined
    cdef public long long offset, unacked
    cpdef Message message(self)
    cpdef bint has_more(self) except? -1
    cdef int step(self) except? -1


cdef class Replays(Servable):
    cdef readonly Turn turn
    cdef readonly object log, scans
    cdef object _at, _watch, _resume
    cdef public dict open
    cdef list _line, _idle
    cdef bint _paused
    cdef long long _others, _own, _bytes
    cdef readonly long long delivered
    cpdef take_turn(self, Replay replay)
    cpdef watch(self)
    cdef sliced(self, Py_ssize_t size)
