cdef class Index:
    cdef readonly long long begin, end
    cdef public long long copied_to, held_from
    cdef dict _chunks
    cdef long long _memo_number
    cdef bytearray _memo
    cdef public set unstored
    cdef public set stored
    cdef readonly long long log_offset, code
    cdef readonly Py_ssize_t size, body_size
    cdef bytearray _chunk(self, long long number, bint create)
    cdef _leave(self, long long number, long long to)
    cpdef put(self, long long offset, long long log_offset, Py_ssize_t size, Py_ssize_t body_size, long long code)
    cpdef int find(self, long long offset) except? -9
    cpdef trim(self, long long begin)
    cpdef bint loaded(self, long long offset) except? -1
