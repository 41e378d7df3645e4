cdef class Clock:
    cdef readonly long long ms
    cdef readonly double seconds
    cdef object _wall, _monotonic
    cdef double _wall_start, _started, _slewed_at
    cdef public double skew_ms
    cdef _slew(self, double now, double since)
    cpdef long long tick(self) except? -1
