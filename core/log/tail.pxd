from core.message cimport Message


cdef class Tail:
    cdef list _ring
    cdef long long[::1] _offsets, _sizes
    cdef Py_ssize_t _head, _count, _mask, _hint
    cdef readonly long long bytes_held
    cdef public long long bytes_max
    cdef long long _committed
    cpdef add(self, Message message)
    cpdef add_record(self, bytes record, long long offset)
    cdef _add(self, object item, long long offset, long long size)
    cpdef object get(self, long long offset)
    cpdef released(self, long long committed)
    cdef Py_ssize_t _beyond(self, Py_ssize_t low, long long offset) except? -1
    cdef _shrink(self)
