cpdef enum:
    KEYS_MAX = 1024


cdef class KeyReader:
    cdef Py_ssize_t id_at, id_bytes, words_at, words_bytes
    cdef void find(self, unsigned char* b, Py_ssize_t at, Py_ssize_t end) noexcept nogil


cdef class KeyNotes:
    cdef KeyReader _reader
    cdef tuple _names
    cdef unsigned char* _uniq_key
    cdef unsigned char* _keys
    cdef unsigned char* _tags
    cdef unsigned char* _separator
    cdef unsigned char* _tag_separator
    cdef Py_ssize_t count, _before
    cdef unsigned long long _offset
    cdef void begin(self, unsigned long long offset) noexcept nogil
    cdef void origin(self, unsigned char* b, Py_ssize_t at, Py_ssize_t end, long long* out) noexcept nogil
    cdef void content(self, unsigned char* b, Py_ssize_t at, Py_ssize_t end, long long* out) noexcept nogil
    cdef void native(self, unsigned char* topic, Py_ssize_t topic_at, Py_ssize_t topic_bytes, unsigned char* b, Py_ssize_t at, Py_ssize_t end, long long* out) noexcept nogil
    cdef void _words(self, unsigned long long value, unsigned char* b, Py_ssize_t at, Py_ssize_t end, long long* out) noexcept nogil
    cdef void _put(self, unsigned long long value, long long* out) noexcept nogil


cdef unsigned long long fold(unsigned long long value, unsigned char* b, Py_ssize_t at, Py_ssize_t n) noexcept nogil
cdef Py_ssize_t find_byte(unsigned char* b, Py_ssize_t at, Py_ssize_t end, unsigned char wanted) noexcept nogil
