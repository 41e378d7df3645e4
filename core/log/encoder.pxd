from core.log.record cimport RecordWriter
from core.message cimport Message

cdef Py_ssize_t put_places(unsigned char* b, Py_ssize_t at, long long[::1] places, Py_ssize_t start, Py_ssize_t stop) except? -1
cdef Py_ssize_t put_text(unsigned char* b, Py_ssize_t at, bytes name, bytes value) noexcept


cdef class Encoder(RecordWriter):
    cdef bytearray _scratch
    cdef bytes _topic, _header, _prefix, _expire, _tail_size
    cdef Py_ssize_t _q_bytes, _address_bytes, _origin_bytes, _properties_bytes, _from_bytes
    cdef unsigned int _flag
    cdef public bint joined
    cdef public long long copied_ms
    cpdef Py_ssize_t plan(self, int kind, bytes body) except? -1
    cpdef Py_ssize_t plan_store(self, Message message, long long[::1] places, Py_ssize_t count) except? -1
    cpdef Py_ssize_t plan_from(self, Message message, long long queue_id, long long queue_offset) except? -1
    cdef Py_ssize_t _measure(self) except? -1
