cpdef enum:
    HEAD_BYTES = 88
    CRC_BYTES = 20
    INLINE_BODY_MAX = 16384
    PLACES_MAX = 256
    PLACE_FIELDS = 3

cpdef enum:
    PERSISTENT = 1
    JOINED = 2

cpdef enum:
    OTHER = 0
    STORE = 1
    STATE = 2
    DONE = 3
    LINK = 4
    NATIVE = 5

cpdef unsigned int crc_range(unsigned char* b, Py_ssize_t at, Py_ssize_t n, unsigned int start) except? 0
cdef Py_ssize_t put_crc(unsigned char* b, Py_ssize_t at, unsigned int crc) noexcept


cdef class RecordWriter:
    cdef object _body
    cdef Py_ssize_t _body_bytes
    cdef readonly Py_ssize_t size, head_bytes
    cdef public long long offset, queue_offset, batch_offset, store_ms
    cpdef bint inline(self) noexcept
    cpdef Py_ssize_t write(self, unsigned char* b, Py_ssize_t at) except? -1
    cpdef Py_ssize_t write_around(self, unsigned char* b, Py_ssize_t at, list pieces) except? -1
    cdef tuple _fragments(self)
    cdef Py_ssize_t _put_head(self, unsigned char* b, Py_ssize_t at) noexcept
    cdef Py_ssize_t _put_body(self, unsigned char* b, Py_ssize_t at) except? -1
    cdef Py_ssize_t _put_properties(self, unsigned char* b, Py_ssize_t at) except? -1
