cpdef enum:
    TAGS = 0
    KEYS = 1
    UNIQ_KEY = 2
    DELAY = 3
    TRAN_MSG = 4
    MSG_REGION = 5
    TRACE_ON = 6
    CLUSTER = 7
    POP_CK = 8
    TIMER_DELAY_SEC = 9
    TIMER_DELAY_MS = 10
    TIMER_DELIVER_MS = 11
    TIMER_OUT_MS = 12
    TIMER_DEL_UNIQKEY = 13
    RETRY_TOPIC = 14
    ORIGIN_MESSAGE_ID = 15
    REAL_TOPIC = 16
    REAL_QID = 17
    INNER_NUM = 18
    INNER_MULTI_DISPATCH = 19
    PGROUP = 20


cdef class Properties:
    cdef object _memory
    cdef long long[::1] _places
    cdef bytes _text
    cdef readonly unsigned long long known
    cpdef read(self, bytes text)
    cdef _note(self, unsigned char* b, Py_ssize_t at, Py_ssize_t name_end, Py_ssize_t stop)
    cpdef bint has(self, int which) noexcept
    cpdef value(self, int which)
    cpdef long long tags_code(self) except? -1
    cpdef bint flag(self, int which) except? -1


cpdef bytes closed(bytes text)
