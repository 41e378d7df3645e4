from core.message cimport Message


cdef class Keys:
    cdef object _key_of, _asked, _answer
    cdef dict _offsets, _keys
    cdef object _key(self, Message message)
    cpdef bint knows(self, Message message) except? -1
    cpdef put(self, Message message, long long offset)
    cpdef forget(self, long long offset)
