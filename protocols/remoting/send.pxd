from core.flow cimport Flow
from core.log.commit_log cimport CommitLog
from core.log.waiter cimport Waiter
from core.native cimport Native
from protocols.remoting.batch cimport Batch
from protocols.remoting.connection cimport RemotingConnection
from protocols.remoting.frame cimport Frame
from protocols.remoting.properties cimport Properties
from protocols.remoting.send_header cimport SendHeader


cdef class Sends(Waiter):
    cdef object _topics, _making, _ids, _memory
    cdef Flow _flow
    cdef CommitLog _log
    cdef SendHeader _header
    cdef Properties _properties
    cdef Batch _batch
    cdef Py_ssize_t _body_max, _size
    cdef bint _writable
    cdef bytes _store_host, _host_hex, _region, _trace, _added
    cdef dict _born_hosts
    cdef list _objects
    cdef long long[::1] _numbers
    cdef long long _first, _next
    cdef int _rotation
    cpdef send(self, RemotingConnection connection, Frame frame, tuple names)
    cdef _send_one(self, RemotingConnection connection, Frame frame)
    cdef _send_batch(self, RemotingConnection connection, Frame frame)
    cdef object _topic(self, RemotingConnection connection)
    cdef _check(self, Py_ssize_t body_size, Py_ssize_t properties_size)
    cdef _refuse_unserved(self, Properties found, bint delayed)
    cdef int _queue_id(self, object topic) except? -1
    cdef bytes _text(self)
    cdef _fill(self, Native message, object topic, RemotingConnection connection)
    cdef _wait(self, RemotingConnection connection, long long opaque, int queue_id, long long offset)
    cdef _describe(self, bytes message_id, object transaction_id)
    cdef _answer(self, Py_ssize_t at)
