from core.queue.due cimport DueHeap
from core.state.replay cimport LoggedQueue


cdef class QuorumQueue(LoggedQueue):
    cdef readonly long long delivery_limit, retry_min_ms, retry_max_ms
    cdef bint _failed_waits, _returned_waits
    cdef DueHeap _due
    cdef _come_back(self, long long offset, bint waits)
    cdef _wait(self, long long offset, long long ms)
