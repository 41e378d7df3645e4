cdef class LocalEngine:
    cdef object _files, _batches, _blocks, _writer, _readers, _later, _closed, _fatal, _done
    cdef object _written_callback, _by_writer_callback
    cdef list _parts
    cdef public object blocked, make_room
    cdef readonly bint full
    cdef bint _sync, _parked, _filling, _flush_due, _retry_due, _closing
    cdef long long _tail, _written_to, _end
    cdef _write(self)
    cpdef _through(self, object error)
    cdef _fill(self)
