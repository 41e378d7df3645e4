from core.clock cimport Clock
from core.log.commit_log cimport CommitLog
from core.turn cimport Turn


cdef class HandOver:
    cdef Turn _turn
    cdef CommitLog _log
    cdef Clock _clock
    cdef object _at, _checkpointer, _now, _tell_behind, _follow
    cdef public bint closing
    cdef bint _behind, _lazy, _checkpoint_due
    cdef long long _checkpoint_ms, _consider_at
    cpdef submit(self)
    cpdef now(self)
    cpdef list gather(self)
    cpdef check_pending(self)
