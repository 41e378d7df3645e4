"""Prometheus text from the broker's plain counters, read at scrape: RabbitMQ's names where it has one, else `mq_`."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST as CONTENT_TYPE

__all__ = ["CONTENT_TYPE", "exposition"]


class BrokerCollector:
    """One pass over the queues per scrape, whatever their number of families."""

    def __init__(self, broker):
        self._broker = broker

    def collect(self) -> Iterator[Metric]:
        """The families of this scrape."""
        yield from self._objects()
        yield from self._messages()
        yield from self._log()
        yield from self._pops()
        yield from self._replays()
        yield from self._flow()
        yield from self._tls()

    def _objects(self) -> Iterator[Metric]:
        broker = self._broker
        vhosts = list(broker.model.vhosts.values())
        channels = sum(len(connection.channels) for connection in broker.connections)
        yield gauge("rabbitmq_connections", "Open AMQP connections", len(broker.connections))
        yield gauge("rabbitmq_channels", "Open AMQP channels", channels)
        yield gauge("rabbitmq_queues", "Queues in all virtual hosts", sum(len(vhost.queues) for vhost in vhosts))
        yield gauge(
            "mq_exchanges", "Exchanges in all virtual hosts", sum(len(vhost.router.exchanges) for vhost in vhosts)
        )
        yield gauge("mq_virtual_hosts", "Virtual hosts", len(vhosts))

    def _messages(self) -> Iterator[Metric]:
        broker = self._broker
        ready = unacked = consumers = delivered = acked = redelivered = 0
        expired = dropped = refused = lost = waiting = 0
        for vhost in broker.model.vhosts.values():
            for queue in vhost.queues.values():
                ready += queue.ready
                unacked += queue.unacked
                consumers += len(queue.consumers)
                delivered += queue.delivered
                acked += queue.acked
                redelivered += queue.redelivered
                expired += queue.expired
                dropped += queue.dropped
                refused += queue.refused
                lost += queue.lost
                waiting += queue.delayed
        gone = broker.metrics
        yield gauge("rabbitmq_queue_messages_ready", "Messages ready for delivery", ready)
        yield gauge("rabbitmq_queue_messages_unacked", "Messages delivered and not acknowledged", unacked)
        yield gauge("rabbitmq_queue_messages", "Messages ready and unacknowledged", ready + unacked)
        yield gauge("rabbitmq_consumers", "Consumers of all queues", consumers)
        yield from self._spill(lost + gone.lost)
        yield counter(
            "rabbitmq_global_messages_received", "Messages published to the broker", broker.publisher.messages
        )
        yield counter("mq_messages_unroutable", "Messages that no queue took", broker.publisher.unroutable)
        yield counter("rabbitmq_global_messages_delivered", "Deliveries", delivered + gone.delivered)
        yield counter("rabbitmq_global_messages_acknowledged", "Acknowledged deliveries", acked + gone.acked)
        yield counter(
            "rabbitmq_global_messages_redelivered", "Deliveries marked redelivered", redelivered + gone.redelivered
        )
        text = "Messages, or copies of them, that an exchange or a queue did not take because it knew their key"
        yield counter("mq_messages_deduplicated", text, broker.publisher.duplicates)
        text = "Channels closed because a delivery was not acknowledged in time"
        yield counter("mq_consumer_timeouts", text, gone.consumer_timeouts)
        delays = broker.delays
        yield gauge("mq_messages_waiting_for_retry", "Messages that came back and wait to be tried again", waiting)
        yield gauge("mq_messages_delayed", "Messages that wait for their time", delays.count())
        yield counter("mq_delayed_messages_fired", "Delayed messages whose time came", delays.fired)
        yield counter("mq_delayed_messages_cancelled", "Delayed messages that were cancelled", delays.cancelled)
        text = "Delayed messages that could not be read or released when due"
        yield counter("mq_delayed_messages_unread", text, delays.unread)
        for kind, waits in (("timed", broker.timers), ("half", broker.halves)):
            text = f"Native {kind} messages"
            yield gauge(f"mq_native_{kind}_messages", f"{text} that wait", waits.count)
            yield counter(f"mq_native_{kind}_messages_unread", f"{text} that could not be read or served", waits.unread)
        letters = broker.dead_letters
        for reason in ("rejected", "expired", "maxlen", "delivery_limit"):
            name = f"rabbitmq_global_messages_dead_lettered_{reason}"
            yield counter(name, f"Messages that left a queue as dead letters: {reason}", letters.moved.get(reason, 0))
        yield counter("mq_dead_letter_cycles", "Dead letters kept in amq.dlq.cycle", letters.cycles)
        yield counter("mq_dead_letters_unreadable", "Dead letters that cannot be read from the disk", letters.failed)
        yield counter("mq_messages_expired", "Messages dropped because their time was over", expired + gone.expired)
        what = "Messages that queues at their length limit gave up, or did not take"
        family = CounterMetricFamily("mq_messages_over_limit", what, labels=["fate"])
        family.add_metric(["dropped"], dropped + gone.dropped)
        family.add_metric(["refused"], refused + gone.refused)
        yield family

    def _spill(self, lost: int) -> Iterator[Metric]:
        spill = self._broker.spill
        text = "Memory held by messages of transient queues, bytes"
        yield gauge("mq_transient_queue_bytes", text, spill.room.bytes)
        yield gauge("mq_spill_messages", "Messages of transient queues that are on the disk only", spill.room.away)
        yield gauge("mq_spill_bytes", "Messages of transient queues on the disk, bytes", spill.bytes)
        yield counter("mq_spill_messages_written", "Messages of transient queues written to the disk", spill.written)
        yield counter("mq_spill_bytes_written", "Bytes written to the disk for transient queues", spill.written_bytes)
        yield counter("mq_spill_reads", "Reads of up to 512 messages of transient queues", spill.reads)
        yield counter("mq_spill_messages_lost", "Messages of transient queues that could not be read back", lost)

    def _log(self) -> Iterator[Metric]:
        log = self._broker.log
        yield gauge("mq_queues_stopped", "Queues whose next message cannot be read", self._broker.cold.failed)
        yield counter("mq_log_appended_bytes", "Bytes appended to the log", log.appended)
        yield counter("mq_log_committed_bytes", "Bytes of the log that are committed", log.committed)
        yield counter("mq_log_batches", "Batches handed to the disk", log.batches)
        yield counter("mq_log_records", "Records appended", log.records)
        yield gauge("mq_log_pending_bytes", "Appended and not yet committed, bytes", log.pending_bytes)
        yield gauge("mq_log_tail_bytes", "Newest messages kept in memory, bytes", log.tail.bytes_held)
        yield from self._retention()

    def _retention(self) -> Iterator[Metric]:
        log, retention, reappender = self._broker.log, self._broker.retention, self._broker.reappender
        yield gauge("mq_log_bytes", "The log from its first segment to its end, bytes", log.appended - retention.first)
        text = "What of the log nothing needs and is kept for replay, bytes"
        yield gauge("mq_log_kept_bytes", text, retention.needed_from - retention.first)
        yield gauge("mq_log_kept_limit_bytes", "So much of it is kept at most", retention.keeper.bytes_max)
        text = "The disk: 0 = has room, 1 = old segments go at any hour, 2 = all that are kept for replay go"
        yield gauge("mq_log_disk_step", text, retention.keeper.step)
        text = "Segments freed at the log's front, by the rule that asked for it"
        yield labelled("mq_log_segments_freed", text, "rule", retention.freed)
        text = "Times that what is live in front segments was not copied, so that they stay"
        yield labelled("mq_log_copies_declined", text, "why", reappender.declined)
        text = "Bytes appended anew because their segment was to go and somebody still wants them"
        yield counter("mq_log_copied_bytes", text, reappender.copied_bytes)
        yield counter("mq_log_copied_records", "Records appended anew for that", reappender.copied_records)
        keys = self._broker.key_blocks
        yield gauge("mq_key_blocks", "Pieces of the log whose messages' keys are in a file", len(keys.blocks))
        yield counter("mq_key_read_bytes", "Bytes of the log read to know its messages' keys", keys.read_bytes)
        text = "Pieces of the log that could not be read for their keys, or their keys not be written"
        yield counter("mq_key_failures", text, keys.failed)

    def _pops(self) -> Iterator[Metric]:
        pops = self._broker.pops
        yield gauge("mq_pop_in_flight", "Native messages that groups popped and have not acked", pops.in_flight)
        yield counter("mq_pop_retried", "Of them, those stored anew when their time was over", pops.retried)
        yield counter("mq_pop_dead_letters", "Of them, those that came back too often", pops.dead)
        yield counter("mq_pop_gone", "Of them, those whose segment went before they were acked", pops.gone)

    def _replays(self) -> Iterator[Metric]:
        replays = self._broker.past.replays
        scans = replays.scans
        yield gauge("mq_replays", "Consumers that read a queue's or an exchange's past", len(replays.open))
        yield gauge("mq_replays_behind", "Of them, those that have not come to the end", replays.behind)
        yield gauge("mq_replays_waiting", "Of them, those that wait for a block of the log", scans.waiting)
        yield counter("mq_replay_messages", "Messages delivered from the past", replays.delivered)
        yield counter("mq_replay_read_bytes", "Bytes read from the disk for replays", scans.read_bytes)
        text = "Times that a replay lost its place, because what it was to read next had gone"
        yield counter("mq_replay_places_lost", text, scans.lost)
        text = "Messages, and rests of segments, that replays left out because they cannot be read"
        yield counter("mq_replay_unreadable", text, scans.unreadable)

    def _flow(self) -> Iterator[Metric]:
        broker = self._broker
        flow = broker.flow
        memory, disk = flow.alarms["memory"], any(flow.alarms[name] for name in ("disk", "log", "behind"))
        yield gauge("rabbitmq_alarms_memory_used_watermark", "1 = the memory limit blocks publishers", memory)
        yield gauge(
            "rabbitmq_alarms_free_disk_space_watermark",
            "1 = the disk limit, or a full disk, blocks publishers",
            disk,
        )
        yield gauge("rabbitmq_resident_memory_limit_bytes", "Memory that blocks publishers", flow.memory_limit)
        yield gauge("rabbitmq_process_resident_memory_bytes", "Memory in use as flow control sees it", flow.memory_used)
        yield gauge("rabbitmq_disk_space_available_bytes", "Free on the data directory's disk", flow.disk_free)
        yield gauge("rabbitmq_disk_space_available_limit_bytes", "Free space that blocks publishers", flow.disk_limit)
        yield counter("mq_publishers_blocked", "Times that publishers were blocked", flow.blocked_count)
        held = sum(connection.held_bytes for connection in broker.connections)
        yield gauge("mq_held_bytes", "Publishes held back by an alarm or waiting for a commit, bytes", held)
        yield counter("mq_logins_refused", "Refused logins", broker.metrics.logins_refused)
        lag = broker.metrics.loop_lag
        text = "How late the event loop was, looked at every metrics.loop_probe_ms while it has work"
        yield HistogramMetricFamily("mq_loop_lag_seconds", text, buckets=list(lag.buckets()), sum_value=lag.seconds)
        yield gauge("mq_loop_lag_longest_seconds", "The latest that it was since start", lag.longest)
        yield counter("mq_loop_turns", "Turns of the event loop with work in them", broker.turn.turns)
        yield gauge("mq_clock_skew_seconds", "Wall clock ahead of the broker's clock", broker.clock.skew_ms / 1000)

    def _tls(self) -> Iterator[Metric]:
        metrics = self._broker.metrics
        now = self._broker.clock.tick() / 1000
        text = "Seconds until the certificate that TLS listeners show expires, negative when it has"
        family = GaugeMetricFamily("mq_tls_certificate_expiry_seconds", text, labels=["file"])
        for file, expires in metrics.tls_certificate_expires.items():
            family.add_metric([file], expires - now)
        yield family
        text = "TLS connections that ended before their handshake"
        yield counter("mq_tls_handshakes_failed", text, metrics.tls_handshakes_failed)


def gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    """A family of one sample."""
    return GaugeMetricFamily(name, text, value=value)


def counter(name: str, text: str, value: float) -> CounterMetricFamily:
    """A family of one sample that only grows."""
    return CounterMetricFamily(name, text, value=value)


def labelled(name: str, text: str, label: str, values: dict[str, int]) -> CounterMetricFamily:
    """A family of one sample per value of a label."""
    family = CounterMetricFamily(name, text, labels=[label])
    for value, count in values.items():
        family.add_metric([value], count)
    return family


def exposition(broker, *more) -> bytes:
    """Everything, as Prometheus text; `more` = other collectors."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    for collector in (BrokerCollector(broker), *more):
        registry.register(collector)
    return generate_latest(registry)
