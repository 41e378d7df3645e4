cdef class Waiter:
    cdef public long long batch_no
    cpdef long long mark(self) except? -1
    cpdef committed(self, long long mark)
