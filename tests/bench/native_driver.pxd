from tests.bench.histogram cimport Histogram

cdef class Link:
    cdef readonly object sock
    cdef readonly int fd
    cdef bytearray _unread
    cdef object _view
    cdef Py_ssize_t _end
    cdef bytearray _out
    cdef Py_ssize_t _written
    cdef long long _now

    cpdef int readable(self) except? -1
    cpdef int pump(self, long long now) except? -1
    cpdef bint writing(self) except? -1
    cdef int _flush(self) except? -1
    cdef int _answer(self, Py_ssize_t at, Py_ssize_t body, Py_ssize_t stop) except? -1
    cdef _refused(self, Py_ssize_t at, Py_ssize_t body)

cdef class Sender(Link):
    cdef list _frames
    cdef Py_ssize_t _opaque_at
    cdef long long _window
    cdef readonly long long limit, blocked
    cdef long long _begun, _answered
    cdef bytearray _waiting
    cdef long long[::1] _due
    cdef readonly Histogram confirm_ns

    cpdef long long sent(self) except? -1
    cpdef long long confirmed(self) except? -1
    cdef int _send(self, long long due) except? -1

cdef class PacedSender(Sender):
    cdef long long _interval
    cdef Py_ssize_t _stamp_at
    cdef readonly long long next_due
    cdef readonly Histogram late_ns

cdef class Puller(Link):
    cdef readonly long long received, empty, live
    cdef readonly Histogram latency_ns
    cdef list _requests
    cdef bytearray _asked
    cdef long long[::1] _offsets
    cdef Py_ssize_t _opaque_at, _offset_at
    cdef bint _stamped, _follows, _stopped
    cdef int _ahead
    cdef long long _next

    cdef int _ask(self, Py_ssize_t lane) except? -1
    cdef int _ask_next(self) except? -1
    cdef int _take(self, Py_ssize_t lane, Py_ssize_t at, Py_ssize_t stop) except? -1
