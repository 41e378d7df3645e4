cdef class Scan:
    cdef readonly Py_ssize_t origin
    cdef readonly int delivery_mode, priority
    cdef readonly Py_ssize_t headers_at, headers_end
    cdef readonly Py_ssize_t expiration_at, expiration_size
    cdef readonly Py_ssize_t user_id_at, user_id_size
    cdef readonly Py_ssize_t reply_to_at, reply_to_size
    cdef readonly bint copies


cpdef int scan_properties(unsigned char* b, Py_ssize_t at, Py_ssize_t end, Scan found) except? -1
cdef Py_ssize_t end_of_value(unsigned char* b, Py_ssize_t at, Py_ssize_t end, int depth) except -2
