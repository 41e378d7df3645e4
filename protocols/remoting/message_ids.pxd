cpdef bytes offset_id(bytes host, long long offset)
cdef Py_ssize_t put_offset_id(unsigned char* out, Py_ssize_t to, bytes host, long long offset) noexcept
