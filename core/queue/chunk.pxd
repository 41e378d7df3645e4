from core.message cimport Message

cpdef enum:
    BLOCK_BYTES = 262144
    MESSAGE_BYTES = 256

cpdef Py_ssize_t size_of(Message message) noexcept


cdef class Room:
    cdef public long long bytes, away, limit
    cdef public object keeper


cdef class Piece:
    cdef readonly long long start, stop
    cdef readonly tuple parts, codes
    cdef public bint lost


cdef class Chunk:
    cdef readonly long long number
    cdef public long long first, covered, came_ms
    cdef public Py_ssize_t live, away_count
    cdef public list messages, pieces
    cdef public bytearray codes, away
    cdef public bint writing
    cpdef bint is_away(self, long long offset) except? -1
    cpdef long long next_away(self, long long offset) except? -2
    cpdef Piece piece_at(self, long long offset)
    cpdef Py_ssize_t unwritten(self) except? -1
