"""The name server's key-value configuration: by namespace, kept in one file (RocketMQ's kvConfig.json)."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from namesrv.bodies import encoded
from protocols.remoting.fastjson import BodyError, decode

ORDER_TOPICS = "ORDER_TOPIC_CONFIG"  # namespace: topic -> `broker:queues;broker:queues`
BYTES_MAX = 16 << 20  # of the file

Table = dict[str, dict[str, str]]


class KvError(Exception):
    """A change that was not made; the text says why."""


class KvFile(msgspec.Struct, rename="camel"):
    """What the file holds."""

    config_table: Table = {}


class KvConfig:
    """`save(text)` puts the file's new content on the disk, and raises OSError if it cannot: then nothing changes."""

    def __init__(self, save: Callable[[bytes], None], content: bytes = b""):
        """`content` is the file's; empty = there is none. Raises BodyError if it is not what we or RocketMQ wrote."""
        self._save = save
        try:
            self._table = decode(content, KvFile).config_table if content else {}
        except BodyError as error:
            raise BodyError(f"holds no KV configuration: {error}") from None

    def get(self, namespace: str, key: str) -> str | None:
        """The value."""
        return self._table.get(namespace, {}).get(key)

    def namespace(self, namespace: str) -> dict[str, str] | None:
        """All of a namespace, or None if nothing was ever put there."""
        return self._table.get(namespace)

    def put(self, namespace: str, key: str, value: str) -> None:
        """Set a value. Raises KvError."""
        self._change(namespace, {**self._table.get(namespace, {}), key: value})

    def delete(self, namespace: str, key: str) -> None:
        """Forget a value; that of a namespace which is not there is forgotten already. Raises KvError."""
        there = self._table.get(namespace)
        if there is not None:
            self._change(namespace, {name: value for name, value in there.items() if name != key})

    def _change(self, namespace: str, items: dict[str, str]) -> None:
        table = {**self._table, namespace: items}
        content = encoded({"configTable": table})
        if len(content) > BYTES_MAX:
            raise KvError(f"the KV configuration would have {len(content)} bytes, more than {BYTES_MAX}")
        try:
            self._save(content)
        except OSError as error:
            raise KvError(f"the KV configuration cannot be written: {error.strerror}") from None
        self._table = table
