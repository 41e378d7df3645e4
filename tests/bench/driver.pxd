from tests.bench.histogram cimport Histogram

cdef class Endpoint:
    cdef readonly object sock
    cdef readonly int fd
    cdef readonly long long blocked
    cdef bytearray _unread
    cdef object _view
    cdef Py_ssize_t _end
    cdef bytearray _out
    cdef long long _now

    cpdef int readable(self) except? -1
    cpdef int pump(self, long long now) except? -1
    cpdef bint writing(self) except? -1
    cdef int _flush(self) except? -1
    cdef int _frame(self, int kind, Py_ssize_t at, Py_ssize_t stop) except? -1
    cdef int _method(self, unsigned int name, Py_ssize_t at) except? -1
    cdef int _refused(self, unsigned int name, Py_ssize_t at) except? -1

cdef class Publisher(Endpoint):
    cdef bytes _message
    cdef bytearray _block
    cdef object _block_view
    cdef long long _cycle_bytes
    cdef long long _window
    cdef readonly long long limit
    cdef long long _sent_bytes
    cdef long long _begun
    cdef long long _floor
    cdef long long _early_count
    cdef bytearray _early
    cdef long long[::1] _due
    cdef readonly Histogram confirm_ns

    cpdef long long sent(self) except? -1
    cpdef long long confirmed(self) except? -1
    cdef int _begin(self, long long upto, long long due) except? -1
    cdef int _settle(self, long long tag, bint multiple) except? -1
    cdef int _pass_early(self) except? -1

cdef class PacedPublisher(Publisher):
    cdef long long _interval
    cdef Py_ssize_t _stamp_at
    cdef long long _delay
    cdef readonly long long next_due
    cdef readonly Histogram late_ns

cdef class Consumer(Endpoint):
    cdef readonly long long received
    cdef readonly Histogram latency_ns
    cdef unsigned long long _tag
    cdef Py_ssize_t _body_bytes
    cdef long long _body_left
    cdef long long _ack_every
    cdef long long _unacked
    cdef bint _stamped
    cdef bint _first_body
    cdef int _answer

    cdef int _received(self) except? -1
