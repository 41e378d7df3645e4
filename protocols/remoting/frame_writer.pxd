cdef class FrameWriter:
    cdef bytearray _out
    cdef Py_ssize_t _at, _fields_at
    cdef int _kind, _version, _language, _flag
    cdef long long _opaque
    cdef bint _has_fields
    cdef bytes _remark, _middle, _tail
    cpdef begin(self, int kind, int code, long long opaque, int flag, bytes remark=*)
    cpdef field(self, bytes name, bytes value)
    cpdef number(self, bytes name, long long value)
    cpdef bytes end(self, Py_ssize_t body_size)
    cdef _end_json(self)
    cdef _grow(self, Py_ssize_t size)
    cdef _literal(self, bytes text)
    cdef _string(self, bytes text)
    cdef _name(self, bytes name)
    cdef _decimal(self, long long value)
