"""Questions about pops: whether there is something to pop, and how many wait. Source: RocketMQ's NotificationProcessor,
PollingInfoProcessor.
"""

from __future__ import annotations

from typing import Any

from protocols.remoting.codes import Request, Response
from protocols.remoting.pop_checks import ALL_QUEUES, PopChecks
from protocols.remoting.pop_receipts import normal_topic
from protocols.remoting.pop_waiting import FULL, PARKED, PopWaiting, due_at, place
from protocols.remoting.send_header import is_true


class Notification:
    """One NOTIFICATION: answered when there is something, or its time is up."""

    def __init__(self, questions: PopQuestions, connection: Any, frame: Any):
        self.questions, self.connection, self.opaque = questions, connection, frame.opaque
        self.order = is_true(frame, b"order")
        self.attempt: bytes | None = frame.get(b"attemptId")
        poll_ms = frame.number(b"pollTime")
        self.due_ms = due_at(frame.number_or(b"bornTime", 0), poll_ms, questions.clock.ms)
        self.topic_name = self.group = b""
        self.queue_id = ALL_QUEUES

    def go(self) -> None:
        """Look, answer or wait."""
        if self.questions.has_message(self):
            self._answer(True)
            return
        outcome = self.questions.waiting.park(self)
        if outcome != PARKED:
            self._answer(False, full=outcome == FULL)

    def time_is_up(self) -> None:
        """There is nothing."""
        self._answer(False)

    def _answer(self, has: bool, *, full: bool = False) -> None:
        fields = [(b"hasMsg", b"true" if has else b"false"), (b"pollingFull", b"true" if full else b"false")]
        self.connection.respond(self.opaque, Response.SUCCESS, None, fields)


class PopQuestions:
    """pops = PopVerbs."""

    def __init__(self, broker: Any, checks: PopChecks, pops: Any):
        self._topics = broker.topics
        self._pops = broker.pops
        self._verbs = pops
        self._checks = checks
        self.clock = broker.clock
        self.waiting = PopWaiting(broker, checks.rules.parked_max, pops.queues)
        broker.topics.changed.append(self.waiting.topic_changed)

    def notify(self, connection: Any, frame: Any) -> None:
        """NOTIFICATION."""
        question = Notification(self, connection, frame)
        question.topic_name, question.group, question.queue_id = self._checks.all(connection, frame)
        question.go()

    def has_message(self, question: Notification) -> bool:
        """Whether a pop like it would find something, were there no filter."""
        if question.queue_id < 0:
            queues = self._verbs.queues(question.topic_name, question.group)
        else:
            topic = self._topics.find(question.topic_name)
            queues = [] if topic is None else [topic.queues[question.queue_id]]
            for retry in self._verbs.retries(question.topic_name, question.group):
                queues += [retry.queues[number] for number in range(retry.config.read_queues)]
        return any(self._has(queue, question) for queue in queues)

    def _has(self, queue: Any, question: Notification) -> bool:
        cursor = self._pops.find(question.group, queue)
        if cursor is None:
            return bool(queue.max_offset > queue.min_offset)
        if question.order and queue.topic == question.topic_name:
            if not cursor.may_begin_in_order(question.attempt, self.clock.ms):
                return False
            return bool(queue.max_offset > max(cursor.floor, queue.min_offset))
        return bool(queue.max_offset > max(cursor.next, queue.min_offset) and self._pops.room(cursor))

    def freed(self, cursor: Any) -> None:
        """A queue that gave nothing may give something now."""
        topic = normal_topic(cursor.queue.topic, cursor.group)
        self.waiting.wake_soon(topic, cursor.group, {place(cursor.queue, topic)})

    def count(self, connection: Any, frame: Any) -> None:
        """POLLING_INFO."""
        topic, group, queue_id = self._checks.all(connection, frame)
        fields = ((b"pollingNum", self._verbs.waiting.count(topic, group, queue_id)),)
        connection.respond(frame.opaque, Response.SUCCESS, None, fields)


def _verb(method: Any) -> Any:
    return lambda connection, frame: method(connection.remoting.pop_questions, connection, frame)


VERBS = {Request.NOTIFICATION: _verb(PopQuestions.notify), Request.POLLING_INFO: _verb(PopQuestions.count)}
