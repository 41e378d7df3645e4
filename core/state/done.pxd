from core.queue.cursor cimport Cursor


cdef class DoneWriter:
    cdef readonly Py_ssize_t body_bytes_max
    cdef bytearray _buffer
    cdef Py_ssize_t _at
    cdef list _bodies
    cpdef add(self, long long queue_id, list runs)
    cpdef list take(self)
    cdef _add_some(self, long long queue_id, list runs)


cpdef list gather(list settled, dict touched, DoneWriter writer)
