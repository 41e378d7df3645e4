from core.clock cimport Clock
from core.queue.consumer cimport Consumer


cdef class Unacked:
    cdef readonly long long base, head
    cdef list _consumers
    cdef long long[::1] _offsets, _times
    cdef Clock _clock
    cdef readonly Py_ssize_t count
    cdef Py_ssize_t _mask
    cdef dict _aside, _back
    cpdef long long add(self, Consumer consumer, long long offset) except? -1
    cpdef int acknowledge(self, long long tag, bint multiple) except? -1
    cpdef int reject(self, long long tag, bint multiple) except? -1
    cpdef int give_back(self, long long tag, bint multiple) except? -1
    cdef bint _settle(self, Py_ssize_t slot, int fate) except? -1
    cdef _make_room(self, long long tag)
    cdef _make_ring(self, Py_ssize_t slots)
    cdef _grow(self)
    cdef _advance(self)
    cdef bint _known(self, long long tag, bint multiple) except? -1
    cdef _all_back(self)
    cdef _finish(self, Consumer consumer, long long offset, int fate)
    cdef int _settle_all(self, long long tag, bint multiple, int fate) except? -1
