from core.flow cimport Flow
from core.log.commit_log cimport CommitLog
from core.log.waiter cimport Waiter
from core.message cimport Message
from core.publish cimport Publisher
from core.routing.exchange cimport Exchange
from core.routing.router cimport Route, Router
from core.transaction cimport Transaction
from protocols.amqp.frames cimport FrameWriter
from protocols.amqp.properties cimport Scan


cdef class Publishing(Waiter):
    cdef FrameWriter output
    cdef Publisher publisher
    cdef CommitLog log
    cdef Flow _flow
    cdef object broker, vhost, user
    cdef Router router
    cdef int channel
    cdef bytes vhost_name
    cdef Scan scan
    cdef bytes _memo
    cdef bytes _exchange, _key
    cdef Exchange _exchange_found
    cdef Route _route
    cdef long long _memo_version, _size_max
    cdef public int expecting
    cdef bint _mandatory
    cdef bytes _header, _stored, _unseen, _reply
    cdef tuple _copies
    cdef long long _body_size, _received, _ttl_ms, _delay_ms
    cdef bint _persistent, _delays_anywhere
    cdef object _body
    cdef list _parts
    cdef public bint confirming
    cdef bint _listed
    cdef readonly long long next_seq, acked
    cdef long long _ready_hi, _waited_hi
    cdef list _singles, _refused, _nacked
    cdef public Transaction transaction
    cpdef long long mark(self) except? -1
    cpdef committed(self, long long mark)
    cdef begin(self, bytearray b, Py_ssize_t at, Py_ssize_t end)
    cdef _look_up(self, bytearray b, Py_ssize_t at, Py_ssize_t key_at, Py_ssize_t end)
    cdef header(self, bytearray b, Py_ssize_t at, Py_ssize_t end)
    cdef body(self, bytearray b, Py_ssize_t at, Py_ssize_t end)
    cdef _complete(self)
    cdef _confirm(self, int result)
    cdef _list(self)
    cdef write_confirms(self)
