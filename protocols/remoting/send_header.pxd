from protocols.remoting.frame cimport Frame


cdef class SendHeader:
    cdef readonly bytes topic, default_topic, properties
    cdef bytes _group
    cdef readonly int queue_id, sys_flag, flag, reconsume_times, default_queues, max_reconsume_times
    cdef readonly long long born_ms
    cdef readonly bint unit, batch
    cpdef read(self, Frame frame, tuple names)


cpdef int number(Frame frame, bytes name) except? -1
cpdef int number_or(Frame frame, bytes name, int default) except? -1
cdef int _narrow(long long value, bytes name) except? -1
