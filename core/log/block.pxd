from core.log.encoder cimport Encoder
from core.log.view cimport View

cpdef enum:
    BLOCK_BITS = 10

cpdef list encode(Encoder encoder, list messages, long long number)
cpdef bytearray encode_codes(Encoder encoder, bytes codes, long long number, Py_ssize_t at)
cdef _name(Encoder encoder, long long number, Py_ssize_t at)
cpdef Py_ssize_t skip(bytes block, Py_ssize_t at, Py_ssize_t count) except? -1
cpdef Py_ssize_t decode(bytes block, Py_ssize_t at, long long number, Py_ssize_t first, Py_ssize_t stop, list out) except? -1
cpdef bytes decode_codes(bytes block, Py_ssize_t at, long long number, Py_ssize_t record)
cdef Py_ssize_t _parse(View view, bytes block, Py_ssize_t at, long long number, Py_ssize_t record, int kind) except? -1
