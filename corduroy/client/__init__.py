"""A native client for RocketMQ's remoting protocol, in plain Python, on asyncio."""

from corduroy.client.errors import (
    BrokerError,
    ClientError,
    Closed,
    CodecError,
    ConnectionFailed,
    InvalidMessage,
    MissingCodec,
    NoRoute,
    RequestTimeout,
)
from corduroy.client.messages import Message, MessageQueue, ReceivedMessage, SendResult, SendStatus
from corduroy.client.producer import Producer
from corduroy.client.signing import Credentials
from corduroy.client.transactions import TransactionProducer, TransactionState

__all__ = [
    "BrokerError",
    "ClientError",
    "Closed",
    "CodecError",
    "ConnectionFailed",
    "Credentials",
    "InvalidMessage",
    "Message",
    "MessageQueue",
    "MissingCodec",
    "NoRoute",
    "Producer",
    "ReceivedMessage",
    "RequestTimeout",
    "SendResult",
    "SendStatus",
    "TransactionProducer",
    "TransactionState",
]
