"""A message's properties as text, and the names that RocketMQ gives a meaning to.

    name 0x01 value 0x02 name 0x01 value 0x02 …

Source: MessageDecoder.messageProperties2String, string2messageProperties; MessageConst.
"""

from __future__ import annotations

from collections.abc import Mapping

from corduroy.client.errors import InvalidMessage

PROPERTIES_BYTES_MAX = 32767
NAME_END, VALUE_END = "\x01", "\x02"
KEY_SEPARATOR = " "

KEYS = "KEYS"
TAGS = "TAGS"
WAIT = "WAIT"
DELAY = "DELAY"
RETRY_TOPIC = "RETRY_TOPIC"
TRAN_MSG = "TRAN_MSG"
PGROUP = "PGROUP"
ORIGIN_MESSAGE_ID = "ORIGIN_MESSAGE_ID"
RECONSUME_TIME = "RECONSUME_TIME"
MAX_RECONSUME_TIMES = "MAX_RECONSUME_TIMES"
UNIQ_KEY = "UNIQ_KEY"
SHARDING_KEY = "__SHARDINGKEY"
TIMER_DELAY_MS = "TIMER_DELAY_MS"
TIMER_DELAY_SEC = "TIMER_DELAY_SEC"
TIMER_DELIVER_MS = "TIMER_DELIVER_MS"
CHECK_IMMUNITY_SECONDS = "CHECK_IMMUNITY_TIME_IN_SECONDS"
INNER_NUM = "INNER_NUM"
INNER_BASE = "INNER_BASE"
POP_CK = "POP_CK"
CORRELATION_ID, REPLY_TO_CLIENT, TTL, MSG_TYPE = "CORRELATION_ID", "REPLY_TO_CLIENT", "TTL", "MSG_TYPE"

RESERVED = frozenset(
    f"""{KEYS} {TAGS} {WAIT} {DELAY} {RETRY_TOPIC} REAL_TOPIC REAL_QID {TRAN_MSG} {PGROUP} MIN_OFFSET MAX_OFFSET
    BUYER_ID {ORIGIN_MESSAGE_ID} TRANSFER_FLAG CORRECTION_FLAG MQ2_FLAG {RECONSUME_TIME} MSG_REGION TRACE_ON {UNIQ_KEY}
    EXTEND_UNIQ_INFO {MAX_RECONSUME_TIMES} CONSUME_START_TIME TRAN_PREPARED_QUEUE_OFFSET TRANSACTION_CHECK_TIMES
    {CHECK_IMMUNITY_SECONDS} {SHARDING_KEY} __transactionId__ INSTANCE_ID {CORRELATION_ID} {REPLY_TO_CLIENT} {TTL}
    ARRIVE_TIME PUSH_REPLY_TIME CLUSTER {MSG_TYPE} {INNER_NUM} {INNER_BASE} {POP_CK} POP_CK_OFFSET 1ST_POP_TIME
    {TIMER_DELAY_SEC} {TIMER_DELIVER_MS} {TIMER_DELAY_MS} INNER_MULTI_DISPATCH INNER_MULTI_QUEUE_OFFSET
    DUP_INFO __CRC32#""".split()
)  # user properties may not have these names


def encode(properties: Mapping[str, str]) -> str:
    """The properties as text. Raises InvalidMessage for what would not be read back."""
    made = []
    for name, value in properties.items():
        if not name or not value:
            raise InvalidMessage(f"property {name!r} with value {value[:40]!r}: neither may be empty")
        made.append(f"{name}{NAME_END}{value}{VALUE_END}")
    text = "".join(made)
    if text.count(NAME_END) + text.count(VALUE_END) != 2 * len(made):
        raise InvalidMessage("a property's name or value holds the byte 0x01 or 0x02")
    size = len(text.encode())
    if size > PROPERTIES_BYTES_MAX:
        raise InvalidMessage(f"properties of {size} bytes exceed {PROPERTIES_BYTES_MAX}")
    return text


def decode(text: str) -> dict[str, str]:
    """The properties in it: a later one of the same name counts, an item without name or value is skipped, the last may
    lack its end."""
    found = {}
    for item in text.split(VALUE_END):
        name, separator, value = item.partition(NAME_END)
        if separator and name and value:
            found[name] = value
    return found
