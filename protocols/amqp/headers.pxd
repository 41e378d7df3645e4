from core.message cimport Message


cpdef Message annotated(Message message, str name, long long value)
