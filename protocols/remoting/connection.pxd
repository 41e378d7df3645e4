from protocols.peer cimport Peer
from protocols.remoting.frame cimport Frame
from protocols.remoting.frame_writer cimport FrameWriter

cdef class RemotingConnection(Peer):
    cdef readonly object broker, remoting
    cdef readonly FrameWriter writer
    cdef Frame _frame
    cdef dict _verbs, _asked
    cdef bint _known, _refused
    cdef long long _seen_bytes
    cdef public int unanswered
    cdef public bytes born_host
    cdef double _used_at, _cut_off_at, _deadline
    cpdef Py_ssize_t receive(self, bytearray buffer, Py_ssize_t start, Py_ssize_t end) except? -1
    cdef _dispatch(self)
    cpdef respond(self, long long opaque, int code, object remark=*, object fields=*, object body=*)
    cpdef begin(self, long long opaque, int code, object remark=*)
    cpdef end(self, object body=*)
    cdef write_from(self, bytearray made, Py_ssize_t size)
    cdef _append_body(self, object body, Py_ssize_t size)
