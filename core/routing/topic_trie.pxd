cdef class Node:
    cdef dict children
    cdef Node one
    cdef Node many
    cdef dict values
    cdef long long seen
    cdef bint is_empty(self) except? -1


cdef class TopicTrie:
    cdef bytes _separator, _one, _many
    cdef Node _root
    cdef long long _walk
    cdef readonly Py_ssize_t node_count
    cdef readonly long long steps
    cpdef add(self, bytes pattern, object value)
    cpdef bint remove(self, bytes pattern, object value) except? -1
    cpdef list match(self, bytes key)
    cdef list _words(self, bytes text)
    cdef Node _next(self, Node node, bytes word, bint create)
    cdef _unlink(self, Node parent, bytes word)
    cdef _admit_many(self, list active, list lasting)
