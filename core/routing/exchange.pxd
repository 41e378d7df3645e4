cdef class Exchange:
    cdef readonly str name, kind
    cdef readonly bint durable, auto_delete, internal, by_key, by_headers
    cdef readonly dict arguments
    cdef readonly str alternate
    cdef dict _bindings
    cdef object _table
    cdef long long _serial
    # the router's cache: see Router.route
    cdef dict routes
    cdef object keyless_route
