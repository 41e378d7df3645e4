from core.log.view cimport View
from core.message cimport Message
from core.queue.replays cimport Replay


cdef class ExchangePast(Replay):
    cdef readonly object scan
    cdef object _ports, _filter, _vhost, _found
    cdef Py_ssize_t _at
    cdef long long _from_offset
    cdef readonly bint ended
    cdef View _view
    cdef Message _wanted(self, long long log_offset)
