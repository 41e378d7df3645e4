cdef class PageImage:
    cdef object _files, _ops, _memory, _segment, _done, _instead
    cdef readonly object view
    cdef list _parts
    cdef unsigned char* image
    cdef Py_ssize_t _image_bytes, _kept, _kept_at
    cdef readonly Py_ssize_t at, size
    cdef long long _segment_bytes, _segment_base, _kept_end
    cdef readonly long long place
    cdef int _buffered, _direct
    cdef readonly int fd
    cdef readonly bint sync, direct
    cpdef bint write(self, list parts, bint sync, done, instead) except? -1
    cpdef put(self)
    cpdef finished(self, int error)
    cpdef opened(self)
    cpdef give_back(self)
    cdef _copy(self, list buffers, Py_ssize_t at)
    cdef _zero(self, Py_ssize_t at, Py_ssize_t upto)
    cdef _move(self, Py_ssize_t at, Py_ssize_t size)
