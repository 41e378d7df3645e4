"""What the native port holds its clients to: the part of RocketMQ's configuration that verbs look at."""

from __future__ import annotations

from dataclasses import dataclass

READ, WRITE, INHERIT = 4, 2, 1  # bits of permissions
BODY_BYTES_MAX = 4 << 20
PARKED_MAX = 100_000


@dataclass
class Rules:
    """Some of them change while the broker runs: who keeps one of them is told (Sends.configure).

    cluster, broker, region     brokerClusterName, brokerName, regionId
    store_host                   brokerIP1 and listenPort as records have them: message ids lead there
    address                      the same for people
    permission                   brokerPermission
    auto_create_topic, default_topic_queues      autoCreateTopicEnable, defaultTopicQueueNums
    body_bytes_max               maxMessageSize
    trace_on                     traceOn: clients write traces of what they send and consume
    property_filter              enablePropertyFilter: subscriptions may be SQL92 (RocketMQ's default is false)
    server_side_reset            useServerSideResetOffset: the broker says where a group goes on that is sent elsewhere
    retry_v2                     enableRetryTopicV2: how the retry topics of pops are named
    transaction_timeout_ms, transaction_check_interval_ms, transaction_check_max      transactionTimeOut,
                                 transactionCheckInterval, transactionCheckMax
    reject_transactions          rejectTransactionMessage
    timers, timer_max_delay_seconds, recalls      timerWheelEnable, timerMaxDelaySec, recallMessageEnable
    store_replies                storeReplyMessageEnable: what answers a request is kept in its topic, too
    parked_max                   pulls that wait for messages: RocketMQ's pullThreadPoolQueueCapacity
    """

    cluster: str = "DefaultCluster"
    broker: str = "broker-a"
    region: str = "DefaultRegion"
    store_host: bytes = b"\x7f\x00\x00\x01\x00\x00\x2a\x9f"
    address: str = "127.0.0.1"
    permission: int = READ | WRITE
    auto_create_topic: bool = True
    default_topic_queues: int = 8
    body_bytes_max: int = BODY_BYTES_MAX
    trace_on: bool = True
    property_filter: bool = True
    server_side_reset: bool = True
    retry_v2: bool = False
    transaction_timeout_ms: int = 6000
    transaction_check_interval_ms: int = 30_000
    transaction_check_max: int = 15
    reject_transactions: bool = False
    timers: bool = True
    timer_max_delay_seconds: int = 259_200
    recalls: bool = True
    store_replies: bool = True
    parked_max: int = PARKED_MAX

    @property
    def place(self) -> str:
        """Where it is reached, as people write it."""
        return f"{self.address}:{int.from_bytes(self.store_host[-4:])}"
