cdef class Traffic:
    cdef public long long messages, bytes, times, ms, sent_back
    cdef readonly dict pulled
    cdef public object history
    cpdef give(self, list records, long long ms, int queue_id, long long next_offset)
