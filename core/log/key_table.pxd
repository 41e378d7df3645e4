from core.log.keys cimport KeyNotes
from core.message cimport Message
from core.native cimport Native


cdef class KeyTable:
    cdef KeyNotes _notes
    cdef list _full
    cdef object _memory
    cdef long long[::1] _view
    cdef Py_ssize_t _room
    cdef readonly long long last_offset, last_ms
    cpdef note_stored(self, Message message)
    cpdef note_native(self, Native message)
