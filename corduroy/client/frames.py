"""Frames of the remoting protocol: bytes in, frames out, and the other way. Written as JSON, read in both kinds.

    0          4      5            8        8+h      4+n
    | n u32    | kind | h u24      | header | body   |      n counts from the byte 4 on

Source: RocketMQ's RemotingCommand and RocketMQSerializable.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from corduroy.client.codes import LANGUAGE, LANGUAGES, VERSION
from corduroy.client.errors import CodecError

FRAME_BYTES_MAX = 16 << 20  # RocketMQ's com.rocketmq.remoting.frameMaxLength, the length itself included
JSON, ROCKETMQ = 0, 1
RESPONSE_BIT, ONE_WAY_BIT = 1, 2
PREFIX = struct.Struct(">II")
LENGTH = struct.Struct(">I")
BINARY = struct.Struct(">hBhii")  # code, language, version, opaque, flag
OPAQUE_MAX = 0x7FFFFFFF
_encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


@dataclass(slots=True)
class Frame:
    """A request or a response. `fields` are its header's, all of them text; `opaque` is what a response repeats."""

    code: int
    fields: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    opaque: int = 0
    flag: int = 0
    remark: str | None = None
    language: str = LANGUAGE
    version: int = VERSION

    @property
    def is_response(self) -> bool:
        """Whether it answers a request."""
        return bool(self.flag & RESPONSE_BIT)

    @property
    def is_one_way(self) -> bool:
        """Whether nobody waits for an answer."""
        return bool(self.flag & ONE_WAY_BIT)


def texts(fields: Mapping[str, Any]) -> dict[str, str]:
    """A header's fields as they travel: what is None is left out, booleans are true and false."""
    return {name: text(value) for name, value in fields.items() if value is not None}


def text(value: Any) -> str:
    """One field's value."""
    if value is True or value is False:
        return "true" if value else "false"
    return str(value)


def encode(frame: Frame) -> bytes:
    """The frame's bytes, its header as JSON. Raises CodecError if it is bigger than any peer takes."""
    header: dict[str, Any] = {"code": int(frame.code)}
    if frame.fields:
        header["extFields"] = frame.fields
    header.update(flag=frame.flag, language=frame.language, opaque=frame.opaque)
    if frame.remark is not None:
        header["remark"] = frame.remark
    header.update(serializeTypeCurrentRPC="JSON", version=frame.version)
    data = _encoder.encode(header).encode()
    size = 4 + len(data) + len(frame.body)
    if size + 4 > FRAME_BYTES_MAX:
        raise CodecError(f"frame of {size + 4} bytes exceeds {FRAME_BYTES_MAX}")
    return PREFIX.pack(size, len(data)) + data + frame.body


class FrameReader:
    """Splits one connection's bytes into frames: feed() them, then next_frame() until it returns None."""

    def __init__(self, frame_bytes_max: int = FRAME_BYTES_MAX):
        self._frame_bytes_max = frame_bytes_max
        self._unread = bytearray()
        self._at = 0

    def feed(self, data: bytes) -> None:
        """Add what came from the socket."""
        del self._unread[: self._at]
        self._at = 0
        self._unread += data

    def next_frame(self) -> Frame | None:
        """The next whole frame, or None. Raises CodecError as soon as what is there cannot be one."""
        ready = len(self._unread) - self._at
        if ready < 4:
            return None
        (size,) = LENGTH.unpack_from(self._unread, self._at)
        if not 4 <= size <= self._frame_bytes_max - 4:
            raise CodecError(f"frame of {size + 4} bytes: it must have 8 to {self._frame_bytes_max}")
        if ready < PREFIX.size:
            return None
        (kind_and_header,) = LENGTH.unpack_from(self._unread, self._at + 4)
        kind, header_size = kind_and_header >> 24, kind_and_header & 0xFFFFFF
        if kind > ROCKETMQ:
            raise CodecError(f"header of kind {kind}, which is neither JSON (0) nor ROCKETMQ (1)")
        if header_size + 4 > size:
            raise CodecError(f"header of {header_size} bytes in a frame of {size + 4}")
        if ready < size + 4:
            return None
        start = self._at + PREFIX.size
        end = self._at + 4 + size
        header = bytes(self._unread[start : start + header_size])
        body = bytes(self._unread[start + header_size : end])
        self._at = end
        return _from_json(header, body) if kind == JSON else _from_binary(header, body)


def _from_json(data: bytes, body: bytes) -> Frame:
    try:
        header = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise CodecError(f"header is not JSON: {error}") from None
    if not isinstance(header, dict):
        raise CodecError("header is no JSON object")
    fields, remark = header.get("extFields"), header.get("remark")
    fields = {} if fields is None else fields
    if not isinstance(fields, dict) or not isinstance(remark, str | None):
        raise CodecError("header's extFields are no object, or its remark is no text")
    code, opaque, flag, version = (_integer(header.get(name)) for name in ("code", "opaque", "flag", "version"))
    language = header.get("language")
    named = {name: _scalar(value) for name, value in fields.items() if value is not None}
    language = language if isinstance(language, str) else ""
    return Frame(code, named, body, opaque, flag, remark and _whole(remark), language, version)


def _integer(value: Any) -> int:
    """An i32 of the header, as a number or as a string; null is 0."""
    try:
        number = 0 if value is None else int(value)
    except (TypeError, ValueError):
        number = 1 << 31
    if not -(1 << 31) <= number < 1 << 31:
        raise CodecError("header has no 32-bit integer where one must be")
    return number


def _whole(value: str) -> str:
    """The text with `?` for halves of surrogate pairs, as Java writes them: no text of Python's could be made of it."""
    return value if value.isascii() else value.encode(errors="replace").decode()


def _scalar(value: Any) -> str:
    """A field's value as text; some clients write numbers and booleans without quotes."""
    return _whole(value) if isinstance(value, str) else _encoder.encode(value)


def _from_binary(data: bytes, body: bytes) -> Frame:
    try:
        code, language, version, opaque, flag = BINARY.unpack_from(data, 0)
        remark, at = _sized(data, BINARY.size, 4)
        (fields_size,) = struct.unpack_from(">i", data, at)
        fields: dict[str, str] = {}
        at += 4
        end = at + fields_size
        if end > len(data):
            raise CodecError(f"fields of {fields_size} bytes in a binary header of {len(data)}")
        while at < end:
            name, at = _sized(data, at, 2)
            value, at = _sized(data, at, 4)
            if value:
                fields[name] = value
    except (struct.error, UnicodeDecodeError) as error:
        raise CodecError(f"binary header is broken: {error}") from None
    spelled = LANGUAGES[language] if language < len(LANGUAGES) else ""
    return Frame(code, fields, body, opaque, flag, remark or None, spelled, version)


def _sized(data: bytes, at: int, size_bytes: int) -> tuple[str, int]:
    """The text at `at`, after its size, and the place behind it."""
    size = struct.unpack_from(">i" if size_bytes == 4 else ">H", data, at)[0]
    at += size_bytes
    if size < 0 or at + size > len(data):
        raise CodecError(f"text of {size} bytes in a binary header of {len(data)}")
    return data[at : at + size].decode(), at + size
