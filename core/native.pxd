cdef class Native:
    cdef public bytes topic, properties, born_host, store_host
    cdef public object body
    cdef public int queue_id, flag, sys_flag, reconsume_times
    cdef public long long born_ms, prepared_offset, tags_code
    cdef public long long queue_offset, offset, store_ms
    cdef public Py_ssize_t record_size


cpdef int java_hash(bytes text) except? -1
cdef int _wide_hash(bytes text) except? -1
cdef int signed(unsigned int value) noexcept
cpdef bytes property_of(bytes properties, bytes name)
