cdef class Message:
    cdef readonly bytes vhost, exchange, routing_key, header
    cdef public bytes unseen
    cdef public object body
    cdef readonly Py_ssize_t body_size
    cdef public long long offset
    cdef public Py_ssize_t record_size
    cdef public long long store_ms
    cdef public long long expire_at
    cdef public long long spilled
    cdef public bint persistent


cdef Message new_message(bytes vhost, bytes exchange, bytes routing_key, bytes header, object body, Py_ssize_t body_size)
