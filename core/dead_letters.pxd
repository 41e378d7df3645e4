from core.clock cimport Clock
from core.message cimport Message
from core.queue.delivery cimport Queue
from core.routing.exchange cimport Exchange
from core.routing.router cimport Route, Router
from core.turn cimport Servable, Turn


cdef class Dead:
    cdef readonly Message message
    cdef readonly tuple keys, passed


cdef Dead new_dead(Message message, tuple keys, tuple passed)


cdef class Lane:
    cdef readonly Queue queue
    cdef readonly object vhost
    cdef Router router
    cdef list reasons
    cdef long long[::1] _ring
    cdef Py_ssize_t _mask, _head, count
    cdef dict ahead
    cdef bint reading
    cdef put(self, long long offset, str reason)
    cdef _grow(self)
    cdef long long offset(self, Py_ssize_t at) except? -1
    cdef str pop(self)


cdef class DeadLetters(Servable):
    cdef object _ports, _stamp, _publish
    cdef Turn _turn
    cdef dict _lanes
    cdef object _open, _refused
    cdef bint _closed, _sending
    cdef readonly dict moved
    cdef readonly long long cycles, failed
    cpdef bury(self, Queue queue, long long offset, str reason)
    cpdef bury_refused(self, Queue queue, Message message)
    cdef _serve_first(self, Lane lane)
    cpdef _move(self, Lane lane, long long offset, str reason, Message message)
    cdef _count(self, str reason)
    cdef bint _send(self, Lane lane, str reason, Message message, Queue source, long long offset) except? -1
    cdef Route _route(self, Lane lane, Exchange exchange, Dead dead, bint rejected)
    cdef Route _among(self, Lane lane, Exchange exchange, Dead dead, bint rejected)
