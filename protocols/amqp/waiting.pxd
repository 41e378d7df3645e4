cdef class WaitingFrames:
    cdef readonly bytearray buffer
    cdef readonly Py_ssize_t count, size, start, stop
    cdef readonly int kind
    cdef Py_ssize_t _end
    cpdef add(self, int kind, bytearray b, Py_ssize_t at, Py_ssize_t end)
    cpdef pop(self)
    cpdef release(self)
    cdef _look(self, Py_ssize_t at)
    cdef _make_room(self, Py_ssize_t size)
