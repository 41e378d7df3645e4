"""What went into a topic, or out of it to one group: numbers that only grow, from the start of the process (compiled).

A message that passes costs two additions. Who samples them for rates keeps what it saw in `history`.
"""

from __future__ import annotations

import cython


@cython.final
@cython.cclass
class Traffic:
    """messages, bytes   put into a topic, or given to a group: whole records
    times, ms            of a group: in how many answers they were given, and how long those took to read
    sent_back            messages that the group gave back
    pulled               of a group: queue id -> the offset behind what was given last
    """

    def __init__(self):
        self.messages = self.bytes = self.times = self.ms = self.sent_back = 0
        self.pulled = {}
        self.history = None

    @cython.ccall
    def give(self, records: list, ms: cython.longlong, queue_id: cython.int, next_offset: cython.longlong):
        """One answer with these records of a queue, which took so long to read."""
        size: cython.longlong = 0
        record: object
        for record in records:
            size += len(record)
        self.messages += len(records)
        self.bytes += size
        self.times += 1
        self.ms += ms
        self.pulled[queue_id] = next_offset

    def counts(self) -> tuple[int, int, int, int, int]:
        """All of them, in the order above."""
        return self.messages, self.bytes, self.times, self.ms, self.sent_back
