from core.message cimport Message
from core.native cimport Native

cpdef enum:
    BLANK = 0
    INVALID = -1
    CUT_SHORT = -2
    UNKNOWN = -3


cdef class View:
    cdef object _buffer
    cdef unsigned char* _bytes
    cdef Py_ssize_t _at, _body_at, _properties_at, _properties_end
    cdef Py_ssize_t _q_at, _q_end, _address_at, _address_end, _expire_at, _expire_end
    cdef Py_ssize_t _origin_at, _origin_end, _tail_at, _tail_end, _from_at, _from_end
    cdef readonly int kind
    cdef readonly long long offset, queue_offset, batch_offset, store_ms, born_ms
    cdef readonly Py_ssize_t size, body_size
    cdef readonly unsigned int flag, sys_flag
    cdef readonly int queue_id
    cdef readonly bint joined
    cdef Py_ssize_t _shift, _topic_at, _topic_bytes
    cpdef Py_ssize_t parse(self, bytes buffer, Py_ssize_t at, long long offset) except? -1
    cdef Py_ssize_t parse_in(self, object owner, unsigned char* b, Py_ssize_t left, Py_ssize_t at, long long offset) except? -1
    cdef bint _lay_out(self, unsigned char* b, Py_ssize_t at, bint wide) noexcept
    cdef int _kind_of(self, unsigned char* b, bint wide) noexcept
    cdef bint _verify(self, unsigned char* b, Py_ssize_t at) except? -1
    cpdef bytes body(self)
    cpdef bint is_of(self, bytes topic) except? -1
    cpdef bytes topic(self)
    cpdef Native native(self)
    cpdef bytes properties(self)
    cpdef Py_ssize_t content_size(self) except? -1
    cpdef bytes coded_places(self)
    cpdef places(self)
    cpdef moved_from(self)
    cpdef link(self)
    cpdef Message message(self)
    cdef long long _decimal(self, unsigned char* b, Py_ssize_t at, Py_ssize_t end) except? -1
    cdef _find_properties(self, unsigned char* b)
    cdef _name(self, unsigned char* b, Py_ssize_t at, Py_ssize_t n, Py_ssize_t end)


cdef read_places(bytes text, Py_ssize_t at)
