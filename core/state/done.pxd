from core.queue.cursor cimport Cursor


cdef class DoneWriter:
    cdef readonly Py_ssize_t body_bytes_max
    cdef public long long epoch
    cdef bytearray _buffer
    cdef Py_ssize_t _at
    cdef list _bodies
    cpdef add(self, long long queue_id, list runs)
    cpdef add_run(self, long long queue_id, long long start, long long end)
    cpdef list take(self)
    cdef Py_ssize_t _begin(self, long long queue_id, Py_ssize_t count) except? -1
    cdef _add_some(self, long long queue_id, list runs)
    cpdef add_counts(self, long long queue_id, list counts)
    cdef _add_some_counts(self, long long queue_id, list counts)


cpdef list gather(list settled, dict touched, DoneWriter writer)
