from core.log.view cimport View
from core.message cimport Message

cpdef Message whole(bytes record, long long offset)

cdef message_in(View view, object owner, unsigned char* b, Py_ssize_t left, Py_ssize_t at, Py_ssize_t size, long long offset)
cdef _decode_units(object owner, unsigned char* b, Py_ssize_t total, long long start, object units, list places, list messages)
