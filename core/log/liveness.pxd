cdef class Liveness:
    cdef readonly long long segment_bytes
    cdef long long _first, _memo_start, _memo_end
    cdef Py_ssize_t _memo
    cdef long long[::1] _counts
    cpdef int add(self, long long offset, long long n) except? -1
    cpdef int drop(self, long long offset) except? -1
    cpdef long long live(self, long long offset) except? -1
    cpdef bint is_dead(self, long long offset) except? -1
    cdef int _find(self, long long offset) except? -1
