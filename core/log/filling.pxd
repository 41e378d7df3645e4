from core.log.record cimport RecordWriter


cdef class Batch:
    cdef public list parts, pages
    cdef public long long start, end


cdef class Filling:
    cdef list _pool, _pages, _parts, _buffers
    cdef object _view
    cdef bytearray _page
    cdef Py_ssize_t _page_at, _run_at, _pages_wanted
    cdef long long _part_at
    cdef readonly long long size
    cpdef bytes write(self, RecordWriter record, long long offset, bint keep)
    cpdef blank(self, long long offset, long long size)
    cpdef Batch cut(self)
    cpdef recycle(self, list pages, bint idle)
    cdef _begin(self, long long offset)
    cdef _take_page(self)
    cdef _end_run(self)
    cdef _end_part(self)
