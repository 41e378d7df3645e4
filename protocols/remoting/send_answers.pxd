from core.log.commit_log cimport CommitLog
from core.log.waiter cimport Waiter
from protocols.remoting.connection cimport RemotingConnection


cdef class SendAnswers(Waiter):
    cdef object _memory
    cdef CommitLog _log
    cdef Py_ssize_t _size
    cdef bytes _host_hex
    cdef bytearray _scratch
    cdef tuple _pieces
    cdef list _objects
    cdef long long[::1] _numbers
    cdef long long _first, _next
    cpdef wait(
        self, RemotingConnection connection, long long opaque, int queue_id, long long queue_offset, long long offset,
        object transaction_id, bytes ids=*,
    )
    cdef _answer(self, Py_ssize_t at)


cdef Py_ssize_t put_piece(unsigned char* p, Py_ssize_t to, bytes piece) noexcept
