from core.message cimport Message
from core.queue.consumer cimport Consumer
from core.state.replay cimport LoggedQueue


cdef class Place:
    cdef readonly Stream stream
    cdef readonly Consumer consumer
    cdef public long long next
    cdef public bint reading, waiting
    cdef dict ahead


cdef class Stream(LoggedQueue):
    cdef public long long max_bytes, max_age_ms
    cdef public long long bytes_kept
    cdef dict _places
    cdef list _line, _idle, _uncounted
    cdef bint _trimming
    cpdef long long code_of(self, Message message) except? -1
    cpdef activate_place(self, Place place)
    cdef int _deliver(self, Place place) except? -1
    cdef Message _message(self, Place place)
    cdef _leave(self, Place place, bint idle)
    cpdef keep(self)
