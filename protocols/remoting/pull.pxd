from core.clock cimport Clock
from core.queue.traffic cimport Traffic
from protocols.remoting.connection cimport RemotingConnection
from protocols.remoting.frame cimport Frame


cdef class Pulls


cdef class Pull:
    cdef readonly Pulls pulls
    cdef readonly RemotingConnection connection
    cdef readonly long long opaque
    cdef public object topic, queue, codes, selector
    cdef public long long offset, asked, due_ms, suspend_ms, bucket, began_ms
    cdef public Traffic traffic
    cdef public int count, group_flag
    cpdef go(self)
    cpdef read(self, found)
    cdef _count(self, list records, long long next_offset)
    cdef _nothing(self, str status, long long next_offset, bint may_wait)
    cpdef time_is_up(self)
    cpdef answer(self, int code, str status, long long next_offset, object records=*)


cdef class Pulls:
    cdef object _topics, _groups, _clients, _making, _rules
    cdef dict _expressions
    cdef readonly object polling
    cdef readonly Clock clock
    cdef public long long messages, found, missed, longest_ms
    cpdef take(self, RemotingConnection connection, Frame frame)
    cdef _take(self, RemotingConnection connection, Frame frame)
