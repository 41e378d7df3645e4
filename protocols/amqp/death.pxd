from core.dead_letters cimport Dead
from core.message cimport Message
from protocols.amqp.properties cimport Scan


cdef class Deaths:
    cdef Scan _scan
    cdef bytearray _out
    cdef Py_ssize_t _at
    cdef str _queue, _reason, _target
    cdef bytes _exchange, _address
    cdef bytes _queue_text, _reason_text, _first, _last, _begin, _end
    cdef tuple _here
    cpdef Dead stamp(self, Message message, str queue, str reason, long long seconds, tuple target)
    cdef _remember(self, str queue, str reason, bytes exchange)
    cdef _put(self, bytes data)
    cdef _put_text(self, bytes text)
    cdef _put_range(self, bytes header, Py_ssize_t at, Py_ssize_t end)
    cdef tuple _write(self, bytes header, long long seconds, tuple keys, bint without_copies)
    cdef _put_fields(self, bytes header, Py_ssize_t at, Py_ssize_t end, bint without_copies)
    cdef tuple _put_deaths(self, bytes header, Py_ssize_t tag_at, long long seconds, tuple keys)
    cdef _put_new(self, bytes header, long long seconds, tuple keys)
    cdef _put_again(self, bytes header, Py_ssize_t at, Py_ssize_t matches)
    cdef bint _is_here(self, bytes header, Py_ssize_t at) except? -1
