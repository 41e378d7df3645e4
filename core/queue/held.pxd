from core.message cimport Message


cdef class Chunk:
    cdef long long number, first
    cdef Py_ssize_t live
    cdef list messages
    cdef bytearray codes


cdef class Held:
    cdef readonly long long end, bytes, code
    cdef dict _chunks
    cdef Chunk _filling, _read, _settled
    cpdef add(self, Message message, long long code)
    cpdef Message get(self, long long offset)
    cpdef settle(self, long long offset)
    cdef _drop(self, Chunk chunk)
