from core.message cimport Message


cdef class OffsetSet:
    cdef Py_ssize_t count
    cdef dict _words
    cdef list _heap
    cdef add(self, long long offset)
    cdef bint holds(self, long long offset) except? -1
    cdef bint remove(self, long long offset) except? -1
    cdef long long first(self) except? -2


cdef class Levels:
    cdef readonly long long top
    cdef object _priority_of
    cdef bytes _header
    cdef long long _header_level, _highest
    cdef list _sets
    cdef dict _out
    cdef set _back
    cpdef long long level_of(self, Message message) except? -1
    cpdef put(self, long long offset, long long level)
    cpdef long long first(self) except? -2
    cpdef bint holds(self, long long offset) except? -1
    cpdef take(self, long long offset)
    cpdef give_back(self, long long offset)
    cpdef bint came_back(self, long long offset) except? -1
    cpdef settle(self, long long offset)


cpdef long long level_in(bytes units, Py_ssize_t at) except? -2
