cdef class ConsistentHash:
    cdef readonly bint by_key, by_headers, by_chance
    cdef readonly object by_property
    cdef object _name
    cdef dict _ways
    cdef list _bindings
    cdef unsigned long long[::1] _seeds
    cdef double[::1] _weights
    cdef Py_ssize_t _highest(self, unsigned long long value) except? -1


cdef class Chance:
    cdef readonly bint by_key, by_headers, by_chance
    cdef readonly object by_property
    cdef dict _bindings
    cdef list _listed
    cdef unsigned long long _state
