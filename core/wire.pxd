cpdef unsigned int rd8(unsigned char* b, Py_ssize_t at) noexcept nogil
cpdef unsigned int rd16(unsigned char* b, Py_ssize_t at) noexcept nogil
cpdef unsigned int rd32(unsigned char* b, Py_ssize_t at) noexcept nogil
cpdef unsigned long long rd64(unsigned char* b, Py_ssize_t at) noexcept nogil
cpdef void wr8(unsigned char* b, Py_ssize_t at, unsigned int value) noexcept
cpdef void wr16(unsigned char* b, Py_ssize_t at, unsigned int value) noexcept
cpdef void wr32(unsigned char* b, Py_ssize_t at, unsigned int value) noexcept
cpdef void wr64(unsigned char* b, Py_ssize_t at, unsigned long long value) noexcept
cpdef bytes take(unsigned char* b, Py_ssize_t at, Py_ssize_t n)
cpdef void put(unsigned char* b, Py_ssize_t at, bytes data) noexcept
cpdef void put_range(unsigned char* b, Py_ssize_t at, unsigned char* source, Py_ssize_t start, Py_ssize_t n) noexcept
cpdef bint same(unsigned char* b, Py_ssize_t at, Py_ssize_t n, bytes text) noexcept
cpdef Py_ssize_t varint_size(unsigned long long value) noexcept
cpdef Py_ssize_t put_varint(unsigned char* b, Py_ssize_t at, unsigned long long value) noexcept
cpdef unsigned long long rd_varint(unsigned char* b, Py_ssize_t at, Py_ssize_t end) except? 0xFFFFFFFFFFFFFFFF
cpdef Py_ssize_t base64_size(Py_ssize_t n) noexcept
cpdef Py_ssize_t put_base64(unsigned char* b, Py_ssize_t at, unsigned char* src, Py_ssize_t n) noexcept
cpdef bytes base64_bytes(unsigned char* b, Py_ssize_t at, Py_ssize_t n)
