from core.log.commit_log cimport CommitLog
from core.log.waiter cimport Waiter
from core.native cimport Native
from core.queue.index cimport Index
from core.queue.traffic cimport Traffic
from core.turn cimport Turn


cdef class TopicLog:
    cdef public CommitLog log
    cdef public Turn turn
    cdef public object first, fetch, read_chunk, read
    cdef public dict touched
    cdef public long long epoch, lowest
    cdef readonly long long appended, appended_bytes
    cdef readonly object ahead, loaded


cdef class TopicQueue(Waiter):
    cdef readonly bytes topic
    cdef readonly int queue_id
    cdef readonly long long id
    cdef readonly Index index
    cdef readonly Traffic traffic
    cdef readonly long long max_offset
    cdef public bint deleted
    cdef TopicLog _shared
    cdef long long _epoch
    cdef list _parked
    cdef public dict ahead
    cpdef long long append(self, Native message, object places=*) except? -1
    cpdef touch(self)
    cpdef read_in(self, long long offset, Py_ssize_t count, long long bytes_max, object codes, dict fetched)


cdef class Topic:
    cdef readonly object config, queues
    cdef readonly int write_queues, read_queues, perm, sys_flag
    cdef readonly bint multi_tags
    cdef readonly Traffic traffic
    cdef readonly dict readers
    cdef dict _made
    cpdef queue(self, int number)
