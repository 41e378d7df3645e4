from core.queue.cursor cimport Cursor
from core.queue.index cimport Index

cpdef enum:
    AHEAD_UNITS = 1024
    AHEAD_BYTES = 1048576


cpdef list units_ahead(object upcoming, Index index, Cursor cursor, object tail, list offsets)
