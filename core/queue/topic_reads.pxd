from core.log.tail cimport Tail
from core.queue.index cimport Index


cdef class ColdRead:
    cdef object _queue, _shared, _done
    cdef Index _index
    cdef Tail _tail
    cdef tuple _asked
    cdef list _units, _offsets
    cpdef go_on(self)
    cdef _answer(self, dict fetched)
    cdef long long _first_wanted(self) except? -1
    cdef _list_units(self, long long offset)
