cdef class Flow:
    cdef readonly bint blocked
    cdef readonly str reason
    cdef readonly dict alarms
    cdef set _listeners
    cdef object _usage
    cdef readonly long long memory_limit, disk_limit
    cdef public long long memory_used, disk_free, blocked_count
