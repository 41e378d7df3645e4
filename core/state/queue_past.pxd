from core.log.tail cimport Tail
from core.message cimport Message
from core.queue.index cimport Index
from core.state.log_past cimport LogPast


cdef class QueuePast(LogPast):
    cdef readonly object queue
    cdef Index _index
    cdef Tail _tail
    cdef public long long next
    cdef long long _since_ms, _upto, _end, _young
    cdef readonly bint scanning
    cdef bint _from_back
    cdef long long _segment
    cdef dict _ahead
    cdef Message _scanned(self)
    cdef Message _indexed(self)
    cdef int _unit(self) except? -9
    cdef _leave_chunk(self)
