"""Where a group goes on reading: at the brokers for a group that shares its queues, in a file for one that does not."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Protocol

from corduroy.client.errors import ClientError, CodecError
from corduroy.client.lenient_json import ObjectKey, loads
from corduroy.client.messages import MessageQueue
from corduroy.client.queue_calls import QueueCalls

log = logging.getLogger("corduroy.client")


class Offsets(Protocol):
    """Where offsets are kept."""

    async def load(self, queue: MessageQueue) -> int | None:
        """The committed offset; None if there is none."""

    async def save(self, offsets: dict[MessageQueue, int]) -> list[MessageQueue]:
        """Commit them; which of them are."""


class BrokerOffsets:
    """At each queue's broker."""

    def __init__(self, calls: QueueCalls, group: str):
        self._calls = calls
        self._group = group

    async def load(self, queue: MessageQueue) -> int | None:
        """Raises what a call may."""
        return await self._calls.committed(self._group, queue)

    async def save(self, offsets: dict[MessageQueue, int]) -> list[MessageQueue]:
        """One call for each; what fails is told in the log and tried again with the next."""
        saved = []
        for queue, offset in offsets.items():
            try:
                await self._calls.commit(self._group, queue, offset)
                saved.append(queue)
            except ClientError as error:
                log.warning("offset %d of %s is not committed: %s", offset, queue, error)
        return saved


class FileOffsets:
    """In RocketMQ's own file: FOLDER/CLIENT/GROUP/offsets.json, {"offsetTable":{queue as JSON:offset}}."""

    def __init__(self, folder: Path, client: str, group: str):
        self._path = folder / client / group / "offsets.json"
        self._table: dict[MessageQueue, int] | None = None

    def _read(self) -> dict[MessageQueue, int]:
        try:
            table = loads(self._path.read_bytes())["offsetTable"]
        except FileNotFoundError:
            return {}
        except (TypeError, KeyError) as error:
            raise CodecError(f"{self._path} has no offsetTable") from error
        return {queue_of(key): int(offset) for key, offset in table.items()}

    async def load(self, queue: MessageQueue) -> int | None:
        """Raises CodecError for a file that is not to be read, OSError."""
        if self._table is None:
            self._table = self._read()
        return self._table.get(queue)

    async def save(self, offsets: dict[MessageQueue, int]) -> list[MessageQueue]:
        """Write all of them to a new file, which takes the old one's place."""
        if self._table is None:
            self._table = self._read()
        if not offsets:
            return []
        self._table.update(offsets)
        text = json.dumps({"offsetTable": {key_of(queue): offset for queue, offset in self._table.items()}})
        self._path.parent.mkdir(parents=True, exist_ok=True)
        new = self._path.with_suffix(".new")
        new.write_text(text)
        os.replace(new, self._path)
        return list(offsets)


def queue_data(queue: MessageQueue) -> dict[str, str | int]:
    """A queue in RocketMQ's JSON."""
    return {"brokerName": queue.broker_name, "queueId": queue.queue_id, "topic": queue.topic}


def key_of(queue: MessageQueue) -> ObjectKey:
    """A queue as the key of a map: the text of its JSON."""
    return ObjectKey(json.dumps(queue_data(queue), separators=(",", ":")))


def queue_of(key: str) -> MessageQueue:
    """The queue that is the key of a map. Raises CodecError."""
    try:
        data = loads(key)
        return MessageQueue(data["topic"], data["brokerName"], int(data["queueId"]))
    except (KeyError, TypeError, ValueError) as error:
        raise CodecError(f"{key!r} is no queue: {error}") from None
