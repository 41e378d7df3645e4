from core.log.record cimport RecordWriter
from core.native cimport Native


cdef class NativeEncoder(RecordWriter):
    cdef Native _message
    cdef Py_ssize_t _properties_bytes, _topic_head
    cdef int _sys_flag
    cpdef Py_ssize_t plan(self, Native message) except? -1
    cpdef forget(self)
