from core.message cimport Message
from core.queue.chunk cimport Chunk, Piece, Room


cdef class Held:
    cdef public Room room
    cdef readonly long long end, code, at, away
    cdef readonly dict resident
    cdef dict _chunks
    cdef Chunk _filling, _read, _settled
    cpdef add(self, Message message, long long code)
    cdef Chunk _next_chunk(self)
    cpdef Message get(self, long long offset)
    cdef Chunk _turn_to(self, long long offset)
    cpdef settle(self, long long offset)
    cdef _settle_away(self, Chunk chunk, long long offset)
    cdef _no_longer_away(self, Chunk chunk, long long offset)
    cdef _drop(self, Chunk chunk)
    cdef _let_go(self, Chunk chunk)
    cpdef Chunk chunk_at(self, long long offset)
    cpdef bint holds(self, long long offset) except? -1
    cpdef bint is_lost(self, long long offset) except? -1
    cpdef long long hot_until(self, Py_ssize_t size, long long chunks) except? -1
    cpdef bint is_full(self, Chunk chunk) except? -1
    cpdef Py_ssize_t evict(self, Chunk chunk, long long hot, long long until) except? -1
