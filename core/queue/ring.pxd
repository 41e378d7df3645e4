from core.queue.consumer cimport Consumer


cdef class Equals:
    cdef readonly long long priority
    cdef Py_ssize_t members, at
    cdef list available


cdef class Ring:
    cdef readonly list consumers
    cdef list available
    cdef public bint single
    cdef readonly Consumer active
    cdef Consumer sole
    cdef dict _groups
    cdef Equals _memo
    cdef Consumer pick(self)
    cdef _see_sole(self)
    cdef bint wake(self, Consumer consumer) except? -1
    cdef Equals _equals(self, long long priority)
