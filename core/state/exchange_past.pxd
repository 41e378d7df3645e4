from core.log.view cimport View
from core.message cimport Message
from core.state.log_past cimport LogPast


cdef class ExchangePast(LogPast):
    cdef object _filter, _vhost
    cdef long long _from_offset
    cdef readonly bint ended
    cdef View _view
    cdef Message _wanted(self, long long log_offset)
