cdef class Exchange:
    cdef readonly str name, kind
    cdef readonly bint durable, auto_delete, internal, by_key, by_headers, by_chance, delayed, any_key
    cdef readonly dict arguments
    cdef public str alternate
    cdef readonly object by_property, history, cache
    cdef dict _bindings
    cdef object _table, _check
    cdef long long _serial
    # the router's cache: see Router.route
    cdef dict routes
    cdef object keyless_route
