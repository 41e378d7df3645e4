from core.queue.delivery cimport Queue


cpdef long long freeze_tail(Queue queue, long long held, object stored, dict puts, dict deletes) except? -2
