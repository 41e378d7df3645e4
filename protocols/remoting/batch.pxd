cdef class Batch:
    cdef readonly long long flag
    cdef readonly Py_ssize_t properties_size
    cdef bytearray _buffer
    cdef Py_ssize_t _start, _at, _end, _body_at, _body_size, _text_at
    cpdef begin(self, bytearray buffer, Py_ssize_t at, Py_ssize_t size)
    cpdef Py_ssize_t check(self) except? -1
    cpdef bint next(self) except? -1
    cpdef bytes body(self)
    cpdef bytes properties(self)
