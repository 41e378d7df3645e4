from core.clock cimport Clock
from protocols.peer cimport Peer


cdef class Room:
    cdef public Py_ssize_t used, limit


cdef class Connection:
    cdef readonly Peer peer
    cdef public Room room
    cdef bytearray _own
    cdef Py_ssize_t _filled, _wanted
    cdef object _transport, _on_lost
    cdef object _rest
    cdef bint _paused
    cdef Clock _clock
    cdef double _read_at
    cdef int _streak
    cdef bint _rests
    cdef _pace(self, Py_ssize_t count, bint answered)
    cdef _take(self, bytearray buffer, Py_ssize_t start, Py_ssize_t end)
    cdef _rest_after(self, Py_ssize_t count)
