from core.queue.replays cimport Replay


cdef class LogPast(Replay):
    cdef readonly object scan
    cdef object _ports, _found
    cdef Py_ssize_t _at
    cdef long long _limit
