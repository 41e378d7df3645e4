from core.queue.consumer cimport Consumer


cdef class Ring:
    cdef readonly list consumers
    cdef list available
    cdef Py_ssize_t _at
    cdef Consumer pick(self)
    cdef bint wake(self, Consumer consumer) except? -1
