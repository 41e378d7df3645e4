cdef class Cursor:
    cdef readonly long long floor
    cdef dict _above
    cdef readonly long long done_above
    cdef long long _run_start, _run_end
    cdef readonly long long run_start, run_end
    cdef list _runs
    cpdef bint is_done(self, long long offset) except? -1
    cpdef bint settle(self, long long offset) except? -1
    cpdef bint settle_stated(self, long long offset) except? -1
    cdef bint _mark(self, long long offset) except? -1
    cpdef bint take_run(self) except? -1
    cpdef settle_range(self, long long start, long long end)
    cdef _gather(self, long long start, long long end)
    cdef _advance(self)
