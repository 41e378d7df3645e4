from core.queue.expiry cimport Expiring


cdef class Bounded(Expiring):
    cdef public bint buries_refused
    cdef bint _loading
    cdef long long _fetched
    cdef readonly long long dropped, refused
    cdef _keep_within(self)
    cdef _drop_heads(self)
    cdef _count_slice(self)
    cdef bint _counts(self, long long offset, set back) except? -1
    cdef bint _at_hand(self, long long offset) except? -1
    cdef _let_go(self)
