from core.flow cimport Flow
from core.native cimport Native
from core.queue.topic_queue cimport Topic
from protocols.remoting.batch cimport Batch
from protocols.remoting.connection cimport RemotingConnection
from protocols.remoting.frame cimport Frame
from protocols.remoting.properties cimport Properties
from protocols.remoting.send_answers cimport SendAnswers
from protocols.remoting.send_header cimport SendHeader


cdef class Sends:
    cdef object _making, _holding, _ids
    cdef dict _topics
    cdef Flow _flow
    cdef SendHeader _header
    cdef SendAnswers _answers
    cdef Properties _properties
    cdef Batch _batch
    cdef Native _message
    cdef Topic _topic_found
    cdef bytes _topic_name
    cdef Py_ssize_t _body_max
    cdef bint _writable
    cdef bytes _store_host, _host_hex, _region, _added, _added_behind
    cdef int _rotation
    cpdef send(self, RemotingConnection connection, Frame frame, tuple names)
    cdef _send_one(self, RemotingConnection connection, Frame frame)
    cdef _send_batch(self, RemotingConnection connection, Frame frame)
    cdef Topic _topic(self, RemotingConnection connection)
    cdef _check(self, Py_ssize_t body_size, Py_ssize_t properties_size)
    cdef int _queue_id(self, Topic topic) except? -1
    cdef bytes _text(self)
    cdef Native _new_message(self, Topic topic, int queue_id, bytes text, RemotingConnection connection)
