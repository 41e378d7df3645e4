"""JSON bodies as RocketMQ's fastjson writes them: keys of maps that are no strings have no quotes.

{0:"127.0.0.1:10911"} is a map keyed by numbers, {{"brokerName":"b","queueId":0,"topic":"T"}:5} one keyed by queues.
Neither is JSON. Java's tools read strict JSON as well, so that is what this client writes, but for keys that are
objects: they find nothing in the text of one.
"""

from __future__ import annotations

import json
import re
from typing import Any

from corduroy.client.errors import CodecError

TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'|[{}\[\],:]|\s+|[^\s{}\[\],:"\']+', re.DOTALL)
DEPTH_MAX = 200  # of objects within objects


def loads(body: bytes | str) -> Any:
    """The value of a body, from strict JSON or from fastjson's: bare keys become strings, an object that is a key
    becomes the string of its JSON text. Raises CodecError."""
    try:
        text = body if isinstance(body, str) else body.decode()
        try:
            return json.loads(text)
        except json.JSONDecodeError:
            return json.loads(strict(text))
    except (ValueError, RecursionError) as error:
        raise CodecError(f"body is not JSON: {error}") from None


class ObjectKey(str):
    """The JSON text of an object that is a key: written as it is."""


def dumps(value: Any) -> bytes:
    """The value as strict JSON, but for keys that are an ObjectKey."""
    return _written(value).encode()


def _written(value: Any) -> str:
    if isinstance(value, dict) and value:
        keys = [key if isinstance(key, ObjectKey) else json.dumps(str(key), ensure_ascii=False) for key in value]
        items = zip(keys, map(_written, value.values()), strict=True)
        return "{" + ",".join([f"{key}:{item}" for key, item in items]) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_written, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def strict(text: str) -> str:
    """The same in strict JSON. What is broken stays broken: whoever decodes it says so."""
    made: list[str] = []
    enclosing: list[str] = []  # what encloses this place: { or [
    is_key = False
    key: list[str] = []  # tokens of an object that is a key
    key_depth = 0
    for token in _tokens(text):
        if key_depth:
            key.append(token)
            key_depth += (token == "{") - (token == "}")
            if not key_depth:
                made.append(json.dumps("".join(key)))
                key, is_key = [], False
        elif is_key and token == "{":
            key, key_depth = [token], 1
        elif token in "{[":
            enclosing.append(token)
            is_key = token == "{"
            made.append(token)
        else:
            if token in "}]":
                enclosing[-1:] = []
                is_key = False
            elif token == ",":
                is_key = enclosing[-1:] == ["{"]
            elif not token.isspace() and token != ":":
                token, is_key = _value(token, is_key), False
            made.append(token)
        if len(enclosing) > DEPTH_MAX:
            raise ValueError(f"deeper than {DEPTH_MAX}")
    return "".join(made + key)


def _tokens(text: str) -> list[str]:
    """The text in pieces; what no piece can be (an open quote) is one of its own."""
    found, at = [], 0
    while at < len(text):
        match = TOKEN.match(text, at)
        found.append(match.group() if match else text[at])
        at += len(found[-1])
    return found


def _value(token: str, is_key: bool) -> str:
    """A string or a bare word; a key gets quotes, a string in apostrophes gets others."""
    if token.startswith("'") and token.endswith("'") and len(token) > 1:
        inner = token[1:-1].replace("\\'", "'")
        return '"' + re.sub(r'(\\.)|"', lambda match: match.group(1) or '\\"', inner, flags=re.DOTALL) + '"'
    return json.dumps(token) if is_key and not token.startswith('"') else token
