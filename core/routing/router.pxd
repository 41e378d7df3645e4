from core.routing.exchange cimport Exchange


cdef class Route:
    cdef readonly tuple queues
    cdef readonly tuple durable
    cdef readonly tuple histories, seen
    cdef public tuple waits
    cdef readonly bint doubled, once


cdef class Router:
    cdef readonly long long version
    cdef readonly dict exchanges
    cdef readonly Exchange default
    cdef readonly Py_ssize_t cached, delaying
    cdef dict _queues
    cdef dict _names
    cdef dict _bindings_to
    cdef list _caching
    cdef Route known(self, Exchange exchange, bytes key)
    cpdef Route route(self, Exchange exchange, bytes key, object headers, object content=*)
    cdef Route _walk(self, Exchange start, tuple keys, object headers, object content, bint delayed)
    cdef _keep(self, Exchange exchange, bytes key, Route route)
    cdef _forget(self)
