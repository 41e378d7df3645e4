from core.queue.delivery cimport Queue


cdef class Retainer:
    cdef object _model, _log, _segments
    cdef object _state_kind
    cdef dict _floors, _done
    cdef tuple _cleared
    cdef public object consider
    cdef readonly long long restated, settled
    cpdef look(self, Queue queue)
