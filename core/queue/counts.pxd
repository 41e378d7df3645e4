from core.queue.cursor cimport Cursor


cdef class Counts:
    cdef dict _counts, _due
    cdef set _changed
    cdef Py_ssize_t _sift_at
    cpdef long long of(self, long long offset) except? -1
    cpdef add(self, long long offset)
    cpdef restate(self, long long offset)
    cpdef put(self, long long offset, long long count, long long due_ms)
    cpdef wait(self, long long offset, long long ms)
    cpdef waited(self, long long offset)
    cpdef forget(self, long long offset)
    cpdef list take(self)
    cpdef sift(self, Cursor cursor)
