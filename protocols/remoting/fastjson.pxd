cdef Py_ssize_t _rewrite(unsigned char* b, Py_ssize_t end, bytearray made) except? -1
cdef Py_ssize_t _past_string(unsigned char* b, Py_ssize_t at, Py_ssize_t end) noexcept
cdef Py_ssize_t _past_token(unsigned char* b, Py_ssize_t at, Py_ssize_t end) noexcept
cdef Py_ssize_t _copy(unsigned char* out, Py_ssize_t to, unsigned char* b, Py_ssize_t at, Py_ssize_t end) noexcept
cdef Py_ssize_t _put_quoted(unsigned char* out, Py_ssize_t to, unsigned char* b, Py_ssize_t at, Py_ssize_t end) noexcept
cdef Py_ssize_t _put_string(unsigned char* out, Py_ssize_t to, unsigned char* b, Py_ssize_t at, Py_ssize_t end) noexcept
