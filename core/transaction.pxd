from core.clock cimport Clock
from core.log.commit_log cimport CommitLog
from core.message cimport Message
from core.routing.router cimport Route


cdef class Transaction:
    cdef CommitLog _log
    cdef Clock _clock
    cdef object _publish, _unacked, _router, _content
    cdef public object _gather
    cdef dict _queues
    cdef readonly Py_ssize_t held_bytes
    cdef Py_ssize_t _bytes_max
    cdef list _messages, _routes, _mandatory, _settled
    cpdef publish(self, Message message, Route route, bint mandatory)
    cdef _hold(self, Py_ssize_t size)
    cdef _begin_anew(self)
    cdef Route _living(self, Route route)
