from core.clock cimport Clock


cdef class Servable:
    cdef public bint active
    cpdef int serve(self, int budget) except? -1


cdef class Flushable:
    cdef public bint dirty
    cpdef flush(self)


cdef class Turn:
    cdef object _soon, _run
    cdef bint _scheduled
    cdef list _serving, _flushing, _resting
    cdef public list settled
    cdef readonly Clock clock
    cdef public object submit, nap, watch
    cdef public bint linger
    cdef bint _held
    cdef readonly long long turns, deliveries
    cpdef activate(self, Servable servable)
    cpdef mark(self, Flushable flushable)
    cpdef schedule(self)
    cpdef bint begin(self) except? -1
    cpdef afterwards(self, object resting)
    cpdef run(self)
    cdef _serve(self)
    cdef _flush(self)
