cdef class Flow:
    cdef public object relieve
    cdef readonly bint blocked
    cdef readonly str reason
    cdef readonly dict alarms
    cdef dict _listeners
    cdef object _usage
    cdef readonly long long memory_limit, disk_limit
    cdef public long long memory_used, disk_free, blocked_count
    cdef long long _since_look
    cpdef took(self, Py_ssize_t size)
