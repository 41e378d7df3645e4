from core.queue.stock cimport Stock


cdef class Expiring(Stock):
    cdef readonly long long latest
    cdef _will_expire(self, long long ms)
    cdef _overtake(self, long long ms, long long offset)
    cpdef long long expiry_of(self, long long offset) except? -2
    cdef _watch(self)
    cdef bint _is_ready(self, long long offset) except? -1
    cdef _go(self, long long offset)
