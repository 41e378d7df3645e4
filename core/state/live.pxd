from core.log.commit_log cimport CommitLog
from core.log.view cimport View
from core.message cimport Message
from core.state.replay cimport LoggedQueue


cdef class Entry:
    cdef Message message
    cdef object places


cdef class LiveScan:
    cdef dict _queues
    cdef CommitLog _log
    cdef View _view
    cdef LoggedQueue _memo
    cdef object _array
    cdef long long[::1] _places
    cdef Py_ssize_t _count
    cdef long long _block_bytes, _native_at
    cdef list _found
    cdef public object kept
    cdef public long long at
    cdef readonly long long wanted, missing_chunk, message_at, message_size
    cdef readonly object missing_queue
    cdef public long long upto, budget
    cdef readonly long long live_bytes, copied_bytes, copied_records
    cpdef int run(self, bytes block, long long start) except? -1
    cpdef bint sample(self, bytes block, long long start, long long upto) except? -1
    cpdef copy(self)
    cdef int _cut(self, long long start, Py_ssize_t found) except? -1
    cdef int _take(self) except? -1
    cdef int _link(self, bytes block, long long start) except? -1
    cdef _sample_link(self)
    cdef int _look(self, bytes places, Py_ssize_t at, long long offset) except? -1
    cdef _queue(self, long long queue_id)
    cdef _note(self, long long queue_id, long long unit, long long code)
