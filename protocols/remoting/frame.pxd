from protocols.remoting.fields cimport Fields


cdef class Frame(Fields):
    cdef public Py_ssize_t frame_bytes_max
    cdef readonly int code, version, flag
    cdef public long long opaque
    cdef readonly Py_ssize_t body_at, body_size
    cdef Py_ssize_t _language_at, _remark_at, _remark_size
    cdef long long _language, _remark_form
    cdef _clear(self)
    cpdef Py_ssize_t take(self, bytearray buffer, Py_ssize_t start, Py_ssize_t end) except? -1
    cdef _check_utf8(self, Py_ssize_t at, Py_ssize_t end)
    cdef _read_binary(self, unsigned char* b, Py_ssize_t at, Py_ssize_t end)
    cdef _read_binary_fields(self, unsigned char* b, Py_ssize_t at, Py_ssize_t end)
    cdef _read_json(self, unsigned char* b, Py_ssize_t at, Py_ssize_t end)
    cdef Py_ssize_t _members(self, unsigned char* b, Py_ssize_t at, Py_ssize_t end, bint inner) except? -1
    cdef Py_ssize_t _field(self, unsigned char* b, Py_ssize_t name_at, Py_ssize_t name_size, Py_ssize_t at, Py_ssize_t end) except? -1
    cdef Py_ssize_t _member(self, unsigned char* b, Py_ssize_t name_at, Py_ssize_t name_size, Py_ssize_t at, Py_ssize_t end) except? -1
    cdef long long _integer(self, unsigned char* b, Py_ssize_t at, Py_ssize_t end) except? -1


cdef int signed16(unsigned int value) noexcept
cdef long long signed32(long long value) noexcept
