cdef class BlockWalk:
    cdef Py_ssize_t _at, _size, _count, _count_max
    cdef unsigned long long _offset
    cdef bytes _own_prefix
    cdef unsigned char* _own
    cdef int _search(self, bytes block, unsigned long long start, object room) except? -9
    cdef int _walk(self, unsigned char* b, Py_ssize_t n, unsigned long long start, long long* found) noexcept nogil
    cdef bint _look(self, unsigned char* b, Py_ssize_t at, long long* found) noexcept nogil
    cdef void _take(self, int kind, unsigned char* b, Py_ssize_t at, Py_ssize_t properties_at, long long* found) noexcept nogil
    cdef void _native(self, unsigned char* b, Py_ssize_t at, long long* found) noexcept nogil


cdef class Sieve(BlockWalk):
    cdef long long _queue_id, _since_ms
    cdef bytes _address
    cdef bytearray _scratch
    cdef unsigned char* _decoded
    cdef unsigned char* _prefix
    cdef unsigned char* _q_name
    cdef unsigned char* _address_name
    cdef Py_ssize_t _prefix_bytes
    cdef unsigned long long _message_at, _message_size
    cdef long long _stored(self, unsigned char* b, Py_ssize_t at, Py_ssize_t end) noexcept nogil
    cdef long long _unit_in(self, unsigned char* b, Py_ssize_t at, Py_ssize_t end, int skipped) noexcept nogil


cdef unsigned int sextet(unsigned int letter) noexcept nogil
cdef Py_ssize_t decode(unsigned char* b, Py_ssize_t at, Py_ssize_t end, unsigned char* to) noexcept nogil
cdef bint lies(unsigned char* b, Py_ssize_t at, unsigned char* text, Py_ssize_t n) noexcept nogil
cdef bint is_link(unsigned char* b, Py_ssize_t at) noexcept nogil
