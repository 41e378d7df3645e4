from core.message cimport Message
from protocols.amqp.consuming cimport AmqpConsumer


cdef class StreamConsumer(AmqpConsumer):
    cpdef deliver(self, Message message, long long offset, bint redelivered)
