"""What a RocketMQ tutorial does, with the C++ client (librocketmq, by its Python binding): each scenario prints one
line, "ok NAME" or "failed NAME: why". Argument: the name server's address."""

import multiprocessing
import sys
import threading
import time
import traceback

from rocketmq.client import Message, Producer, PullConsumer, PushConsumer, SendStatus
from rocketmq.exceptions import ProducerSendSyncFailed

PATIENCE_SECONDS = 90
SERVERS = sys.argv[1]


def message(topic, body, tag="a"):
    made = Message(topic)
    made.set_keys("k")
    made.set_tags(tag)
    made.set_body(body)
    return made


def producer(topic):
    made = Producer(f"{topic}-producers")
    made.set_namesrv_addr(SERVERS)
    made.start()
    return made


def sent(topic, *messages):
    sender = producer(topic)
    for each in messages:
        assert send(sender, each).status == SendStatus.OK
    return sender


def send(sender, each):
    """On a busy machine this client's first look-up of a route may end before its connection is made."""
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return sender.send_sync(each)
        except ProducerSendSyncFailed as error:
            if "No route info" not in str(error) or time.monotonic() > end:
                raise
            time.sleep(0.1)


def consumed(topic, count, expression="*", orderly=False, refuse=()):
    """The bodies that came, until there are so many; the first time for each in `refuse` is not taken."""
    got, refused, enough = [], set(refuse), threading.Event()

    def listener(each):
        body = bytes(each.body)
        if body in refused:
            refused.remove(body)
            raise RuntimeError("not yet")
        got.append(body)
        if len(got) == count:
            enough.set()

    reader = PushConsumer(f"{topic}-consumers", orderly)
    reader.set_namesrv_addr(SERVERS)
    reader.subscribe(topic, listener, expression)
    reader.start()
    assert enough.wait(PATIENCE_SECONDS), got
    reader.shutdown()
    return got


def ways_to_send(topic):
    large = b"large " * 20_000
    sender = sent(topic, message(topic, "sync"), message(topic, large))
    sender.send_oneway(message(topic, "oneway"))
    assert sorted(consumed(topic, 3)) == [large, b"oneway", b"sync"]
    sender.shutdown()


def tags(topic):
    sender = sent(topic, *(message(topic, tag, tag) for tag in "abc"))
    assert sorted(consumed(topic, 2, "a || c")) == [b"a", b"c"]
    sender.shutdown()


def ordered(topic):
    sender = producer(topic)
    wanted = [b"step %02d" % i for i in range(20)]
    for each in wanted:
        sender.send_orderly(message(topic, each), 1)
    assert consumed(topic, 20, orderly=True) == wanted
    sender.shutdown()


def delay(topic):
    late = message(topic, "late")
    late.set_delay_time_level(2)
    began = time.monotonic()
    sender = sent(topic, late)
    assert consumed(topic, 1) == [b"late"]
    assert time.monotonic() - began >= 4.9
    sender.shutdown()


def retry(topic):
    sender = sent(topic, message(topic, "again"))
    assert consumed(topic, 1, refuse=[b"again"]) == [b"again"]
    sender.shutdown()


def pull(topic):
    sender = sent(topic, message(topic, "1"), message(topic, "2"))
    reader = PullConsumer(f"{topic}-consumers")
    reader.set_namesrv_addr(SERVERS)
    reader.start()
    assert sorted(bytes(each.body) for each in reader.pull(topic)) == [b"1", b"2"]
    reader.shutdown()
    sender.shutdown()


def run(scenario):
    name = scenario.__name__
    try:
        scenario(f"cpp-{name}")
        print(f"ok {name}", flush=True)
    except BaseException as error:
        print(f"failed {name}: {error!r}", flush=True)
        traceback.print_exc()


if __name__ == "__main__":  # each in a process of its own: the library breaks when threads start and stop clients
    fresh = multiprocessing.get_context("spawn")
    all_of_them = [fresh.Process(target=run, args=[each]) for each in (ways_to_send, tags, ordered, delay, retry, pull)]
    for each in all_of_them:
        each.start()
    for each in all_of_them:
        each.join()
