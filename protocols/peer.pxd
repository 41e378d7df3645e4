from core.turn cimport Flushable, Turn


cdef class Peer(Flushable):
    cdef public Turn turn
    cdef public object transport, reader, tls
    cdef public tuple peer_address, local_address
    cdef bytearray _out
    cdef Py_ssize_t _used
    cdef list _pieces
    cdef readonly Py_ssize_t gathered
    cdef public bint answered, pipelined, congested, finished
    cdef public int paused_for
    cdef public list stalled
    cdef public long long bytes_in, bytes_out
    cdef public Py_ssize_t wanted
    cdef Py_ssize_t reserve(self, Py_ssize_t size) except? -1
    cdef add_piece(self, object piece)
    cdef bint full(self) except? -1
    cpdef write(self, bytes data)
    cpdef Py_ssize_t receive(self, bytearray buffer, Py_ssize_t start, Py_ssize_t end) except? -1
    cpdef flush(self)
    cpdef before_flush(self)
    cdef _send(self)
