cdef class Lane:
    cdef object _files, _ops, _memory, _segment, _done
    cdef readonly object view
    cdef unsigned char* _image
    cdef long long _segment_bytes
    cdef readonly long long place
    cdef readonly Py_ssize_t size
    cdef Py_ssize_t _at, _wanted
    cdef readonly int direct, buffered
    cdef readonly bint busy
    cdef bint _past_cache
    cdef public long long cached
    cpdef bint begin(self, long long offset, Py_ssize_t size, done) except? -1
    cpdef put(self)
    cpdef finished(self, Py_ssize_t result)
    cpdef let_go(self)


cdef class ThreadLane(Lane):
    cdef object _thread
    cdef int _wake, _told
    cdef bint _stopping, _refused
    cdef Py_ssize_t _result
    cpdef put(self)
    cdef int _serve(self) noexcept nogil
    cdef Py_ssize_t _carry(self) noexcept nogil
    cdef Py_ssize_t _read(self, int fd, Py_ssize_t there) noexcept nogil
