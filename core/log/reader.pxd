from core.log.tail cimport Tail

cpdef enum:
    GAP_BYTES_MAX = 65536
    BLOCK_BYTES_MAX = 1048576


cdef class Fetch


cdef class Block:
    cdef readonly Fetch fetch
    cdef readonly long long start
    cdef long long end
    cdef list places


cdef class Fetch:
    cdef object units
    cdef object done
    cdef list messages
    cdef Py_ssize_t missing


cdef class Reader:
    cdef object _engine, _soon, _waiting
    cdef Tail _tail
    cdef long long _segment_bytes
    cdef set _under_way
    cdef readonly long long blocks
    cdef list _blocks(self, Fetch fetch)
    cdef bint _belongs(self, Block block, long long offset, long long size) except? -1
