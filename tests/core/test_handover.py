"""The end of a turn: what a slow disk does to publishers."""

from array import array

from core.clock import Clock
from core.handover import HandOver
from core.log.commit_log import CommitLog
from core.message import Message
from core.turn import Turn
from tests.core.log.conftest import HeldEngine

PENDING_BYTES_MAX = 64 << 20
BODY_BYTES = 4 << 20


class Checkpoints:
    """None are due."""

    stamp = 1 << 60

    def consider(self):
        return 1 << 60


class Slow:
    """A log whose disk finishes a batch when told to."""

    def __init__(self):
        clock = Clock(lambda: 1.0, lambda: 1.0)
        self.soon, self.told = [], []
        self.turn = Turn(clock, self.soon.append)
        self.engine = HeldEngine()
        self.log = CommitLog(self.engine, clock, self.soon.append, self.fail, segment_bytes=1 << 30)
        self.handover = HandOver(
            self.turn, self.log, clock, Checkpoints(),
            at=lambda ms, callback: None, checkpoint_seconds=60, behind=self.told.append,
            follow=lambda: 1 << 62,
        )  # fmt: skip

    def fail(self, error):
        raise error

    def publish_until(self, pending_bytes):
        while self.log.pending_bytes <= pending_bytes:
            body = bytes(BODY_BYTES)
            self.log.append_store(Message((b"/", b"", b"q"), b"", body, len(body), True), array("q", [1, 0, 0]), 1)
            self.handover.submit()


def test_publishers_are_blocked_while_too_much_waits_for_the_disk_and_until_half_of_it_is_written():
    slow = Slow()
    slow.publish_until(PENDING_BYTES_MAX - BODY_BYTES - (1 << 16))
    assert True not in slow.told
    slow.publish_until(PENDING_BYTES_MAX)
    assert slow.told[-1] is True
    while slow.log.pending_bytes > PENDING_BYTES_MAX // 2:
        slow.handover.submit()
        assert slow.told[-1] is True
        slow.engine.finish()
    slow.handover.submit()
    assert slow.told[-1] is False
