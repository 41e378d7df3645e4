from core.message cimport Message
from protocols.amqp.consuming cimport AmqpConsumer, Getter


cdef class CountedConsumer(AmqpConsumer):
    cpdef deliver(self, Message message, long long offset, bint redelivered)


cdef class CountedGetter(Getter):
    cpdef deliver(self, Message message, long long offset, bint redelivered)
