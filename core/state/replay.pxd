from core.log.view cimport View
from core.message cimport Message
from core.queue.counts cimport Counts
from core.queue.cursor cimport Cursor
from core.queue.delivery cimport Queue
from core.queue.index cimport Index


cdef class LoggedQueue(Queue):
    cpdef push(self, Message message, long long code)
    cpdef relocate(self, long long offset, Message copy)


cdef class Slot:
    cdef readonly long long id
    cdef readonly bytes topic
    cdef readonly int number
    cdef readonly Index index
    cdef readonly Cursor cursor
    cdef readonly Counts counts
    cdef public long long latest
    cdef readonly set chunks
    cdef expires(self, long long code, long long offset)
    cdef public long long watermark
    cdef public bint unordered


cdef class Replay:
    cdef readonly dict slots
    cdef dict _topics
    cdef set _gone
    cdef object _state, _load, _spill, _new_id
    cdef readonly long long records, units
    cdef long long _units_kept, _stored_at, _began_at
    cdef Py_ssize_t _stored_body
    cdef Slot _memo, _topic_memo
    cdef _native(self, View view)
    cpdef Slot slot(self, long long queue_id)
    cpdef record(self, View view)
    cdef _behind(self, Slot slot, long long unit, long long offset)
    cdef _settle(self, long long queue_id, long long offset)
    cpdef place(self, long long offset, Py_ssize_t size, Py_ssize_t body_size, long long[::1] places)
    cpdef done(self, bytes body)
