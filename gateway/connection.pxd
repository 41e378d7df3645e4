from core.clock cimport Clock
from protocols.peer cimport Peer


cdef class Connection:
    cdef readonly Peer peer
    cdef object _transport, _on_lost
    cdef object _rest
    cdef bint _paused
    cdef Clock _clock
    cdef double _read_at
    cdef int _streak
    cdef bint _rests
    cdef _pace(self, Py_ssize_t count, bint answered)
    cdef _take(self, Py_ssize_t start, Py_ssize_t end)
