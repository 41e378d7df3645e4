cdef int bucket_of(unsigned long long value) except? -1

cdef class Histogram:
    cdef long long[::1] _counts
    cdef readonly long long total
    cdef readonly long long largest

    cpdef int record(self, long long value) except? -1
