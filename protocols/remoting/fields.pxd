cpdef enum:
    PLAIN = 0
    ESCAPED = 1
    NULL = 2


cdef class Fields:
    cdef readonly bytearray buffer
    cdef readonly int kind
    cdef readonly Py_ssize_t field_count
    cdef object _memory
    cdef long long[::1] _places, _letters
    cdef _add(self, Py_ssize_t name_at, Py_ssize_t name_size, Py_ssize_t at, Py_ssize_t size, long long form)
    cdef Py_ssize_t _find(self, bytes name) except? -2
    cdef _text(self, Py_ssize_t at, Py_ssize_t size, long long form)
    cpdef get(self, bytes name)
    cpdef bytes text(self, bytes name)
    cpdef bytes text_like(self, bytes name, bytes known)
    cpdef bint is_true(self, bytes name) except? -1
    cpdef long long number(self, bytes name) except? -1
    cpdef long long number_or(self, bytes name, long long default) except? -1
    cdef bytes _name(self, Py_ssize_t i)
    cdef long long _number_at(self, Py_ssize_t i, bytes name) except? -1


cdef bint has_escape(unsigned char* b, Py_ssize_t at, Py_ssize_t end) noexcept
cdef long long decimal(unsigned char* b, Py_ssize_t at, Py_ssize_t end) noexcept
