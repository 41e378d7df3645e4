"""Sends and pulls without sockets or disk: topics are lists, a commit comes when the engine is told to finish."""

import struct
from types import SimpleNamespace

from core.config import Config
from core.flow import Flow
from core.native import SCHEDULE_TOPIC, Native, tags_code
from core.queue.topic_queue import Topic
from core.schedule import Schedule
from core.state.records import GroupFact, TopicConfig
from protocols.remoting import pull, queue_verbs, send, sending_back, system_topics, topic_verbs
from protocols.remoting.holding import Holding
from protocols.remoting.making import Making
from protocols.remoting.message_ids import UniqueIds
from protocols.remoting.remoting import Remoting
from protocols.remoting.rules import Rules
from protocols.remoting.statistics import Statistics
from protocols.remoting.verbs import table
from tests.core.queue.bench import Bench
from tests.protocols.remoting.world import Client

FAMILIES = (send.VERBS, pull.VERBS, topic_verbs.VERBS, queue_verbs.VERBS, sending_back.VERBS)
STATE = 2  # a kind of record
FIELDS = [name for name in dir(Native) if not name.startswith("_")] or list(vars(Native(b"", 0, b"")))


def record(message):
    """The bytes of a message's record, as far as they are read back; the checksums are not true."""
    text = message.properties + b"__CRC32#\x010000000000\x02"
    v6 = (0x10 if len(message.born_host) == 20 else 0) | (0x20 if len(message.store_host) == 20 else 0)
    long = len(message.topic) > 127
    parts = [
        struct.pack(">IIiiqqi", 0xDAA320AB if long else 0xDAA320A7, 0, message.queue_id, message.flag,
                    message.queue_offset, message.offset, message.sys_flag | v6),
        struct.pack(">q", message.born_ms) + message.born_host,
        struct.pack(">q", message.store_ms) + message.store_host,
        struct.pack(">iq", message.reconsume_times, message.prepared_offset),
        struct.pack(">I", len(message.body)) + message.body,
        len(message.topic).to_bytes(2 if long else 1) + message.topic,
        struct.pack(">H", len(text)) + text,
    ]  # fmt: skip
    rest = b"".join(parts)
    return struct.pack(">I", 4 + len(rest)) + rest


class Queue:
    """Messages as (message, committed); a record is b'R' and the body."""

    def __init__(self, world, name, queue_id):
        self.world, self.name, self.queue_id = world, name, queue_id
        self.messages, self.callbacks, self.cold = [], [], None
        self.whole = False  # records are given as they are
        self.min_offset = self.max_offset = 0

    @property
    def end(self):
        return len(self.messages)

    def append(self, message):
        world = self.world
        message.offset = world.log.append(STATE, b"message")
        message.queue_offset = len(self.messages)
        message.store_ms = world.clock.ms
        assert message.tags_code == tags_code(message.topic, message.properties, message.store_ms)
        kept = Native(b"", 0, b"")  # the one that came serves for the next send, too
        for name in FIELDS:
            setattr(kept, name, getattr(message, name))
        self.messages.append(kept)
        upto = len(self.messages)
        world.log.when_committed(lambda: self.commit(upto))
        world.turn.schedule()
        return message.queue_offset

    def read(self, offset, count, bytes_max, codes, done):
        if self.cold is not None:
            self.cold.append(lambda: done(self._read(offset, count, codes)))
            return None
        return self._read(offset, count, codes)

    def _read(self, offset, count, codes):
        records, at = [], offset
        while at < self.max_offset and len(records) < count and at < offset + 800:
            message = self.messages[at]
            if codes is None or message.tags_code in codes:
                whole = self.whole or self.name == SCHEDULE_TOPIC
                records.append(record(message) if whole else b"R" + message.body)
            at += 1
        return records, at, offset

    def when_more(self, callback):
        assert callback not in self.callbacks
        self.callbacks.append(callback)

    def forget(self, callback):
        self.callbacks.remove(callback)

    def commit(self, upto):
        self.max_offset = upto
        waiting, self.callbacks = self.callbacks, []
        for callback in waiting:
            callback()

    def store_ms(self, offset, done):
        done(self.messages[offset].store_ms if 0 <= offset < len(self.messages) else LookupError(offset))

    def offset_at(self, ms, upper, done):
        done((ms, upper))


class Topics:
    def __init__(self, world):
        self.world = world
        self.table = {}
        self.changed = []
        self.version = SimpleNamespace(counter=0, ms=0)

    @property
    def by_name(self):
        return self.table

    def find(self, name):
        return self.table.get(name)

    def put(self, config):
        there = self.table.get(config.name)
        if there is None:
            there = self.table[config.name] = Topic(config, lambda name, number: Queue(self.world, name, number))
        there.configure(config)
        self._fact(config.name)
        return there

    def delete(self, name):
        del self.table[name]
        self._fact(name)

    def _fact(self, name):
        self.version = SimpleNamespace(counter=self.version.counter + 1, ms=self.world.clock.ms)
        self.world.log.append(STATE, b"topic")
        for callback in self.changed:
            callback(name)
        self.world.turn.schedule()

    def all(self):
        return list(self.table.values())

    def append(self, topic, message):
        return topic.queue(message.queue_id).append(message)


class Groups:
    """Every name is a group, unless `auto` is off."""

    def __init__(self):
        self.table = {}
        self.offsets = {}
        self.resets = {}
        self.auto = True

    def use(self, name, system=False):
        if name not in self.table and (self.auto or system):
            self.table[name] = GroupFact(name=name.decode())
        return self.table.get(name)

    def commit(self, group, topic, queue_id, offset, *, at_once=False):
        self.offsets[group, topic, queue_id] = offset

    def offset(self, group, topic, queue_id):
        return self.offsets.get((group, topic, queue_id), -1)

    def take_reset(self, group, topic, queue_id):
        return self.resets.pop((group, topic, queue_id), -1)


class Members:
    def lost(self, connection):
        """The registry forgets it."""

    def expire(self, connection):
        return False

    def __init__(self):
        self.groups = {}

    def consumers(self, group):
        return self.groups.get(group)


class NativeWorld(Bench):
    """A broker as the native verbs see it, and clients of it."""

    def __init__(self, **rules):
        super().__init__()
        self.config = Config()
        self.access = None
        self.usage = [0, 1 << 40]
        self.flow = Flow(1 << 40, 1 << 20, lambda: self.usage)
        self.alarms = []
        self.timers = self.halves = None  # what waits needs a whole broker: test_transactions.py, test_timers.py
        self.handover = SimpleNamespace(gather=list)
        self.schedule = Schedule(self._call_at, self.clock)
        self.topics, self.groups, self.members = Topics(self), Groups(), Members()
        self.rules = Rules(**{"broker": "broker-a", "reject_transactions": True, "timers": False} | rules)
        self.remoting = Remoting(self, table(FAMILIES))
        self.making = Making(self, self.rules)
        self.queries = SimpleNamespace(by_id=self._by_id)
        self.remoting.sending_back = sending_back.SendingBack(self, self.making)
        ids = UniqueIds(bytes(10), lambda: self.clock.ms)
        self.remoting.sends = send.Sends(self, self.rules, self.making, Holding(self, self.making), ids)
        self.remoting.pulls = pull.Pulls(self, self.making, self.members)
        self.remoting.topics = topic_verbs.TopicVerbs(self, self.rules)
        self.remoting.statistics = Statistics(self, self.remoting.pulls, self.rules.cluster)
        self.remoting.queues = queue_verbs.QueueVerbs(self.topics)
        self.remoting.clients = self.members
        system_topics.ensure(self.topics, self.rules)
        self.commit()

    def _by_id(self, text, done):
        """What lies at that place in the log, later."""
        everything = [each for topic in self.topics.all() for each in self.messages(topic.config.name)]
        found = [SimpleNamespace(message=record(each)) for each in everything if f"{each.offset:032X}" == text]
        self.soon.append(lambda: done(found))

    def _call_at(self, ms, callback):
        timer = SimpleNamespace(cancel=lambda: self.alarms.remove((ms, callback)))
        self.alarms.append((ms, callback))
        return timer

    def report(self, event, **fields):
        raise AssertionError((event, fields))

    def later(self, ms):
        """So much later, and what was due meanwhile is done."""
        self.pass_ms(ms)
        while due := [timer for timer in self.alarms if timer[0] <= self.clock.ms]:
            self.alarms.remove(due[0])
            due[0][1]()
        self.run()

    def commit(self):
        """All that was appended is on the disk, and what waits for that is told."""
        self.run()
        while self.engine.done is not None:
            self.engine.finish()
            self.run()

    def topic(self, name=b"T", queues=4, **fields):
        self.topics.put(TopicConfig(name=name, read_queues=queues, write_queues=queues, **fields))
        self.commit()
        return self.topics.find(name)

    def client(self, host="127.0.0.1", port=50000):
        return Client(self, host, port)

    def messages(self, name=b"T"):
        """What lies in a topic's queues, in the order of the log."""
        queues = self.topics.find(name).queues.made.values()
        return sorted((each for queue in queues for each in queue.messages), key=lambda each: each.offset)


def text(**properties):
    """Property text."""
    return "".join(f"{name}\x01{value}\x02" for name, value in properties.items())


def send_fields(topic="T", **more):
    """The header of a SEND_MESSAGE_V2."""
    fields = {"a": "group", "b": topic, "c": "TBW102", "d": 4, "e": 0, "f": 0, "g": 1234, "h": 0}
    fields |= {"i": text(UNIQ_KEY="0A", TAGS="TagA"), "j": 0, "k": "false", "m": "false"}
    return {name: value for name, value in (fields | more).items() if value is not None}


def pull_fields(topic="T", **more):
    """The header of a PULL_MESSAGE that asks for all messages of queue 0 and waits for none."""
    fields = {"consumerGroup": "g", "topic": topic, "queueId": 0, "queueOffset": 0, "maxMsgNums": 32, "sysFlag": 4}
    fields |= {"commitOffset": 0, "suspendTimeoutMillis": 15000, "subscription": "*", "subVersion": 1}
    return fields | more


def batch(*messages):
    """The body of a batch of (body, property text)."""
    parts = []
    for body, properties in messages:
        properties = properties.encode()
        head = struct.pack(">IIIiI", 22 + len(body) + len(properties), 0, 0, 5, len(body))
        parts += [head, body, struct.pack(">H", len(properties)), properties]
    return b"".join(parts)
