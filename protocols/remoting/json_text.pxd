cdef bint is_blank(unsigned char c) noexcept
cpdef Py_ssize_t past_blanks(unsigned char* b, Py_ssize_t at, Py_ssize_t end) noexcept
cpdef Py_ssize_t find_byte(unsigned char* b, Py_ssize_t at, Py_ssize_t end, unsigned char c) noexcept
cpdef bint is_ascii(unsigned char* b, Py_ssize_t at, Py_ssize_t end) noexcept
cpdef Py_ssize_t string_end(unsigned char* b, Py_ssize_t at, Py_ssize_t end) noexcept
cpdef Py_ssize_t scalar_end(unsigned char* b, Py_ssize_t at, Py_ssize_t end) noexcept
cpdef Py_ssize_t value_end(unsigned char* b, Py_ssize_t at, Py_ssize_t end) noexcept
cpdef bytes unescaped(unsigned char* b, Py_ssize_t at, Py_ssize_t end)
cpdef Py_ssize_t put_escaped(unsigned char* out, Py_ssize_t to, bytes text) noexcept
cpdef Py_ssize_t put_decimal(unsigned char* out, Py_ssize_t to, long long value) noexcept
cdef bint _all_numeric(unsigned char* b, Py_ssize_t at, Py_ssize_t end) noexcept
cdef bint _lies(unsigned char* b, Py_ssize_t at, bytes text) noexcept
cdef Py_ssize_t _token_end(unsigned char* b, Py_ssize_t at, Py_ssize_t end) noexcept
cdef int _hex4(unsigned char* b, Py_ssize_t at, Py_ssize_t end) noexcept
cdef int _short_escape(unsigned char c) noexcept
cdef Py_ssize_t _put_utf8(unsigned char* out, Py_ssize_t to, int code) noexcept
cdef unsigned char _letter_of(unsigned char c) noexcept
