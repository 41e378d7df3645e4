from core.message cimport Message

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

cpdef unsigned int crc_range(unsigned char* b, Py_ssize_t at, Py_ssize_t n, unsigned int start) except? 0
cdef Py_ssize_t put_crc(unsigned char* b, Py_ssize_t at, unsigned int crc) noexcept
cdef Py_ssize_t put_places(unsigned char* b, Py_ssize_t at, long long[::1] places, Py_ssize_t start, Py_ssize_t stop) except? -1
cdef Py_ssize_t put_text(unsigned char* b, Py_ssize_t at, bytes name, bytes value) noexcept


cdef class Encoder:
    cdef bytearray _scratch
    cdef bytes _topic, _header, _prefix, _expire, _tail_size
    cdef object _body
    cdef Py_ssize_t _body_bytes, _q_bytes, _address_bytes, _origin_bytes, _properties_bytes, _from_bytes
    cdef unsigned int _flag
    cdef public long long offset, queue_offset, batch_offset, store_ms
    cdef readonly Py_ssize_t size
    cdef public bint joined
    cdef public long long copied_ms
    cpdef Py_ssize_t plan(self, int kind, bytes body) except? -1
    cpdef Py_ssize_t plan_store(self, Message message, long long[::1] places, Py_ssize_t count) except? -1
    cpdef Py_ssize_t plan_from(self, Message message, long long queue_id, long long queue_offset) except? -1
    cdef Py_ssize_t _measure(self) except? -1
    cpdef bint inline(self) noexcept
    cpdef Py_ssize_t write(self, unsigned char* b, Py_ssize_t at) except? -1
    cpdef Py_ssize_t write_around(self, unsigned char* b, Py_ssize_t at, list pieces) except? -1
    cdef Py_ssize_t _put_head(self, unsigned char* b, Py_ssize_t at) noexcept
    cdef Py_ssize_t _put_body(self, unsigned char* b, Py_ssize_t at) except? -1
    cdef Py_ssize_t _put_properties(self, unsigned char* b, Py_ssize_t at) except? -1
    cdef _forget(self)
