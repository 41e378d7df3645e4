from core.log.sieve cimport BlockWalk


cdef class KeyReader:
    cdef Py_ssize_t id_at, id_bytes, words_at, words_bytes
    cdef void find(self, unsigned char* b, Py_ssize_t at, Py_ssize_t end) noexcept nogil


cdef class KeySieve(BlockWalk):
    cdef KeyReader _reader
    cdef bytearray _scratch
    cdef unsigned char* _decoded
    cdef unsigned char* _origin
    cdef unsigned char* _origin_tail
    cdef Py_ssize_t _before
    cdef void _take(self, int kind, unsigned char* b, Py_ssize_t at, Py_ssize_t properties_at, long long* out) noexcept nogil
    cdef void _read(self, unsigned char* b, Py_ssize_t at, Py_ssize_t end, long long* out) noexcept nogil
    cdef void _put(self, unsigned char* b, Py_ssize_t at, Py_ssize_t n, long long* out) noexcept nogil


cdef unsigned long long hash_of(unsigned char* b, Py_ssize_t at, Py_ssize_t n) noexcept nogil
cdef int compare(const void* one, const void* other) noexcept nogil
