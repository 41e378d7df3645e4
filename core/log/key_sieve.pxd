from core.log.keys cimport KeyNotes
from core.log.sieve cimport BlockWalk


cdef class KeySieve(BlockWalk):
    cdef KeyNotes _notes
    cdef bytearray _scratch
    cdef unsigned char* _decoded
    cdef unsigned char* _origin
    cdef unsigned char* _origin_tail
    cdef void _take(self, int kind, unsigned char* b, Py_ssize_t at, Py_ssize_t properties_at, long long* out) noexcept nogil
    cdef void _stored(self, unsigned char* b, Py_ssize_t at, Py_ssize_t properties_at, long long* out) noexcept nogil
    cdef void _native(self, unsigned char* b, Py_ssize_t at, long long* out) noexcept nogil


cdef int compare(const void* one, const void* other) noexcept nogil
