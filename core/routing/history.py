"""x-recent-history: a fanout that remembers its last messages and gives them to every queue that is bound to it, as
RabbitMQ's plugin of that name: in memory only, so a restart forgets them.
"""

from __future__ import annotations

from collections import deque

from core.message import Message

HISTORY_LENGTH = "x-recent-history-length"
NO_STORE = "x-recent-history-no-store"  # a header: true = this message is not to be remembered
LENGTH = 20  # when the argument is missing


class History:
    """The last messages that went through one exchange. Whoever publishes calls remember()."""

    def __init__(self, length: int):
        self._messages: deque[Message] = deque(maxlen=length)

    def __len__(self) -> int:
        return len(self._messages)

    def remember(self, message: Message) -> None:
        """The youngest; the oldest goes when there are more than `length`."""
        self._messages.append(message)

    def replay(self, now_ms: int) -> list[Message]:
        """Copies, oldest first, for one queue more: a message belongs to the queues it was published to. Each expires
        as long after now as the original did after it was published."""
        copies = []
        for message in self._messages:
            address = message.vhost, message.exchange, message.routing_key
            copy = Message(address, message.header, message.body, message.body_size, message.persistent)
            if message.expire_at:
                copy.expire_at = now_ms + message.expire_at - message.store_ms
            copies.append(copy)
        return copies
