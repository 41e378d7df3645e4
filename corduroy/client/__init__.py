"""A native client for RocketMQ's remoting protocol, in plain Python: asyncio here, without it in `blocking`."""

from corduroy.client.admin import Admin
from corduroy.client.assignment import ConsumeFrom
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
from corduroy.client.listening import ConsumeResult
from corduroy.client.messages import Message, MessageQueue, ReceivedMessage, SendResult, SendStatus
from corduroy.client.pop_consumer import PopConsumer
from corduroy.client.producer import Producer
from corduroy.client.pull_consumer import PullConsumer
from corduroy.client.pulling import PullResult, PullStatus
from corduroy.client.push_consumer import PushConsumer
from corduroy.client.rebalance import averagely, by_circle
from corduroy.client.signing import Credentials
from corduroy.client.subscriptions import SQL92, TAG
from corduroy.client.transactions import TransactionProducer, TransactionState

__all__ = [
    "SQL92",
    "TAG",
    "Admin",
    "BrokerError",
    "ClientError",
    "Closed",
    "CodecError",
    "ConnectionFailed",
    "ConsumeFrom",
    "ConsumeResult",
    "Credentials",
    "InvalidMessage",
    "Message",
    "MessageQueue",
    "MissingCodec",
    "NoRoute",
    "PopConsumer",
    "Producer",
    "PullConsumer",
    "PullResult",
    "PullStatus",
    "PushConsumer",
    "ReceivedMessage",
    "RequestTimeout",
    "SendResult",
    "SendStatus",
    "TransactionProducer",
    "TransactionState",
    "averagely",
    "by_circle",
]
