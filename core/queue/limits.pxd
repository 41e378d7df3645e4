cdef class Limits:
    cdef public long long max_length, max_bytes
    cdef public bint refusing
    cdef readonly long long ready_bytes
    cdef public long long counting_at, counting_end
    cdef dict _out
    cpdef bint exceeded(self, Py_ssize_t count, Py_ssize_t size) except? -1
    cpdef bint counted(self, long long offset) except? -1
    cpdef put(self, long long offset, Py_ssize_t size)
    cpdef take(self, long long offset, Py_ssize_t size)
    cpdef give_back(self, long long offset)
    cpdef settle(self, long long offset)
    cpdef resize(self, long long offset, Py_ssize_t before, Py_ssize_t size)
    cpdef purged(self)
    cpdef count(self, long long offset, Py_ssize_t size, bint ready)
