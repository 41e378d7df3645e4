from core.queue.cursor cimport Cursor
from core.queue.due cimport DueHeap


cdef class Overtaking:
    cdef DueHeap heap
    cdef readonly set chunks
    cdef readonly set back, late
    cpdef add(self, long long ms, long long offset, bint durable)
    cpdef long long first(self) except? -2
    cpdef long long pop(self) except? -2
    cpdef came_back(self, long long offset)
    cpdef settled(self, long long offset)
    cpdef sift(self, Cursor cursor, Py_ssize_t live)
    cdef _fill(self, bytes units, long long offset, Cursor cursor)
