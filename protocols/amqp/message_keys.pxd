from core.log.keys cimport KeyReader


cdef class MessageKeys(KeyReader):
    cdef unsigned char* _field
    cdef void _find_words(self, unsigned char* b, Py_ssize_t at, Py_ssize_t end) noexcept nogil
    cdef void find(self, unsigned char* b, Py_ssize_t at, Py_ssize_t end) noexcept nogil


cdef Py_ssize_t behind(unsigned char* b, Py_ssize_t at, Py_ssize_t end) noexcept nogil
