from core.state.replay cimport LoggedQueue


cdef class QuorumQueue(LoggedQueue):
    cdef readonly long long delivery_limit
