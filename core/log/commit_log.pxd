from core.clock cimport Clock
from core.log.encoder cimport Encoder
from core.log.filling cimport Batch, Filling
from core.log.key_table cimport KeyTable
from core.log.native_encoder cimport NativeEncoder
from core.log.record cimport RecordWriter
from core.log.tail cimport Tail
from core.log.waiter cimport Waiter
from core.message cimport Message
from core.native cimport Native
from core.turn cimport Turn


cdef class CommitLog:
    cdef readonly long long appended, committed, batch_no, batches, records
    cdef readonly long long segment_bytes, batch_bytes_max
    cdef public long long batch_offset
    cdef readonly Tail tail
    cdef readonly object engine
    cdef object _soon, _failed, _done_callback, _release_callback
    cdef Clock _clock
    cdef Encoder _encoder, _marker
    cdef NativeEncoder _native
    cdef Filling _filling
    cdef long long[::1] _next
    cdef list _waiters
    cdef object _closed, _marked, _callbacks
    cdef long long _segment_end, _joined_at, _own_end
    cdef Batch _in_flight
    cdef public Turn turn
    cdef public KeyTable keys
    cdef bint _follows
    cdef readonly bint together
    cpdef long long append_store(self, Message message, long long[::1] places, Py_ssize_t count, bint moved=*) except? -1
    cpdef long long append_native(self, Native message) except? -1
    cpdef long long append_native_into(self, Native message, long long[::1] places) except? -1
    cpdef long long append_copy(self, Message message, long long[::1] places) except? -1
    cpdef long long append(self, int kind, bytes body) except? -1
    cpdef join(self, Py_ssize_t size)
    cpdef end_joined(self, list bodies)
    cpdef wait(self, Waiter waiter)
    cpdef when_committed(self, callback)
    cpdef submit(self)
    cpdef bint awaited(self) except? -1
    cdef long long _append(self, int kind) except? -1
    cdef _mark(self)
    cdef bytes _put(self, RecordWriter record, bint keep)
    cdef _make_way(self, Py_ssize_t size)
    cdef _cut(self)
    cdef _close(self)
    cdef _send(self)
