from core.queue.cursor cimport Cursor


cdef class DueHeap:
    cdef object _memory
    cdef long long[::1] _pairs
    cdef Py_ssize_t _room, _count
    cdef _resize(self, Py_ssize_t room)
    cpdef push(self, long long ms, long long offset)
    cpdef long long first(self) except? -2
    cpdef long long pop(self) except? -2
    cdef bint _is_before(self, long long ms, long long offset, Py_ssize_t at) noexcept
    cdef int _sink(self, Py_ssize_t at, long long ms, long long offset) except? -1
    cpdef fill(self, bytes units, long long offset, Cursor cursor)
