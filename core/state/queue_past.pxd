from core.log.tail cimport Tail
from core.message cimport Message
from core.queue.index cimport Index
from core.queue.replays cimport Replay


cdef class QueuePast(Replay):
    cdef readonly object queue, scan
    cdef Index _index
    cdef Tail _tail
    cdef object _ports
    cdef public long long next
    cdef long long _since_ms, _upto, _limit, _end, _young
    cdef readonly bint scanning
    cdef bint _from_back
    cdef long long _segment
    cdef object _found
    cdef Py_ssize_t _at
    cdef dict _ahead
    cdef Message _scanned(self)
    cdef Message _indexed(self)
    cdef int _unit(self) except? -9
    cdef _leave_chunk(self)
