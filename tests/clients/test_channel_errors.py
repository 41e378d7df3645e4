"""Refusals that close the channel and nothing else (amqp.md §2): exact code and text."""

import uuid

import pika
import pytest

from tests.clients.broker import parameters

LOCKED = (
    "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '{n}.exclusive' in vhost '/'. It could be "
    "originally declared on another connection or the exclusive property value does not match that of the original "
    "declaration."
)
NO_QUEUE = "NOT_FOUND - no queue '{n}.none' in vhost '/'"
NO_EXCHANGE = "NOT_FOUND - no exchange '{n}.none' in vhost '/'"
DEFAULT_EXCHANGE = "ACCESS_REFUSED - operation not permitted on the default exchange"
UNEQUAL = "PRECONDITION_FAILED - inequivalent arg '{0}' for {1} '{{n}}.{2}' in vhost '/': "
CLASSIC, FANOUT = "queue", "exchange"
INVALID = "PRECONDITION_FAILED - invalid arg '{0}' for queue '{{n}}.new' in vhost '/': {1}"


def unequal(argument, kind, which, difference):
    """The text for a redeclare that differs."""
    return UNEQUAL.format(argument, kind, which) + difference


def invalid(argument, why):
    """The text for an argument that cannot be."""
    return INVALID.format(argument, why.replace("{", "{{").replace("}", "}}"))


def declare(name, **properties):
    """A row's act: queue.declare of `name` (with the test's prefix)."""
    return lambda c, n: c.queue_declare(n + name, **properties)


def exchange(name, kind="fanout", **properties):
    """A row's act: exchange.declare."""
    return lambda c, n: c.exchange_declare(n + name, kind, **properties)


NOT_FOUND = {
    "passive declare of a missing queue": (declare(".none", passive=True), NO_QUEUE),
    "get from a missing queue": (lambda c, n: c.basic_get(n + ".none"), NO_QUEUE),
    "consume from a missing queue": (lambda c, n: c.basic_consume(n + ".none", print), NO_QUEUE),
    "purge of a missing queue": (lambda c, n: c.queue_purge(n + ".none"), NO_QUEUE),
    "bind of a missing queue": (lambda c, n: c.queue_bind(n + ".none", "amq.direct", "k"), NO_QUEUE),
    "passive declare of a missing exchange": (exchange(".none", passive=True), NO_EXCHANGE),
    "publish to a missing exchange": (lambda c, n: c.basic_publish(n + ".none", "k", b""), NO_EXCHANGE),
    "bind to a missing exchange": (lambda c, n: c.queue_bind(n + ".durable", n + ".none", "k"), NO_EXCHANGE),
    "bind from a missing exchange": (lambda c, n: c.exchange_bind("amq.fanout", n + ".none"), NO_EXCHANGE),
    "bind into a missing exchange": (lambda c, n: c.exchange_bind(n + ".none", "amq.fanout"), NO_EXCHANGE),
}
REFUSED = {
    "a reserved queue name": (
        lambda c, n: c.queue_declare("amq." + n),
        "ACCESS_REFUSED - queue name 'amq.{n}' contains reserved prefix 'amq.*'",
    ),
    "a reserved exchange name": (
        lambda c, n: c.exchange_declare("amq." + n),
        "ACCESS_REFUSED - exchange name 'amq.{n}' contains reserved prefix 'amq.*'",
    ),
    "declare of the default exchange": (lambda c, n: c.exchange_declare("", "direct"), DEFAULT_EXCHANGE),
    "delete of the default exchange": (lambda c, n: c.exchange_delete(""), DEFAULT_EXCHANGE),
    "bind on the default exchange": (lambda c, n: c.queue_bind(n + ".durable", "", "k"), DEFAULT_EXCHANGE),
    "unbind on the default exchange": (lambda c, n: c.queue_unbind(n + ".durable", "", "k"), DEFAULT_EXCHANGE),
    "exchange bind on the default exchange": (lambda c, n: c.exchange_bind("amq.fanout", ""), DEFAULT_EXCHANGE),
    "delete of a predeclared exchange": (
        lambda c, n: c.exchange_delete("amq.direct"),
        "ACCESS_REFUSED - deletion of system exchange 'amq.direct' in vhost '/' not allowed",
    ),
    "publish to an internal exchange": (
        lambda c, n: c.basic_publish(n + ".internal", "k", b""),
        "ACCESS_REFUSED - cannot publish to internal exchange '{n}.internal' in vhost '/'",
    ),
    "a consumer beside an exclusive one": (
        lambda c, n: c.basic_consume(n + ".alone", print),
        "ACCESS_REFUSED - queue '{n}.alone' in vhost '/' in exclusive use",
    ),
    "an exclusive consumer beside another": (
        lambda c, n: c.basic_consume(n + ".used", print, exclusive=True),
        "ACCESS_REFUSED - queue '{n}.used' in vhost '/' in exclusive use",
    ),
}
EXCLUSIVE = {
    "declare": declare(".exclusive", exclusive=True),
    "passive declare": declare(".exclusive", passive=True),
    "bind": lambda c, n: c.queue_bind(n + ".exclusive", "amq.direct", "k"),
    "get": lambda c, n: c.basic_get(n + ".exclusive"),
    "consume": lambda c, n: c.basic_consume(n + ".exclusive", print),
    "purge": lambda c, n: c.queue_purge(n + ".exclusive"),
    "delete": lambda c, n: c.queue_delete(n + ".exclusive"),
}
TTL = {"x-message-ttl": 6000}
PRECONDITION = {
    "redeclare with another durable": (
        declare(".plain", durable=True),
        unequal("durable", CLASSIC, "plain", "received 'true' but current is 'false'"),
    ),
    "redeclare with another auto-delete": (
        declare(".plain", auto_delete=True),
        unequal("auto_delete", CLASSIC, "plain", "received 'true' but current is 'false'"),
    ),
    "redeclare with another TTL": (
        declare(".ttl", arguments=TTL),
        unequal("x-message-ttl", CLASSIC, "ttl", "received '6000' but current is '5000'"),
    ),
    "redeclare without its TTL": (
        declare(".ttl"),
        unequal("x-message-ttl", CLASSIC, "ttl", "received none but current is the value '5000' of type 'signedint'"),
    ),
    "redeclare with a TTL it has not": (
        declare(".plain", arguments=TTL),
        unequal("x-message-ttl", CLASSIC, "plain", "received the value '6000' of type 'signedint' but current is none"),
    ),
    "redeclare with an expiry it has not": (
        declare(".plain", arguments={"x-expires": 60000}),
        unequal("x-expires", CLASSIC, "plain", "received the value '60000' of type 'signedint' but current is none"),
    ),
    "exchange redeclared with another type": (
        lambda c, n: c.exchange_declare("amq.direct", "fanout", durable=True),
        "PRECONDITION_FAILED - inequivalent arg 'type' for exchange 'amq.direct' in vhost '/': "
        "received 'fanout' but current is 'direct'",
    ),
    "exchange redeclared with another durable": (
        exchange(".exchange", durable=True),
        unequal("durable", FANOUT, "exchange", "received 'true' but current is 'false'"),
    ),
    "exchange redeclared with another auto-delete": (
        exchange(".exchange", auto_delete=True),
        unequal("auto_delete", FANOUT, "exchange", "received 'true' but current is 'false'"),
    ),
    "exchange redeclared with another internal": (
        exchange(".exchange", internal=True),
        unequal("internal", FANOUT, "exchange", "received 'true' but current is 'false'"),
    ),
    "exchange redeclared with an alternate it has not": (
        exchange(".exchange", arguments={"alternate-exchange": "amq.fanout"}),
        unequal(
            "alternate-exchange",
            FANOUT,
            "exchange",
            "received the value 'amq.fanout' of type 'longstr' but current is none",
        ),
    ),
    "a user-id that is not the login's": (
        lambda c, n: c.basic_publish("", n, b"", pika.BasicProperties(user_id="root")),
        "PRECONDITION_FAILED - user_id property set to 'root' but authenticated user was 'guest'",
    ),
    "an expiration that is no number": (
        lambda c, n: c.basic_publish("", n, b"", pika.BasicProperties(expiration="abc")),
        "PRECONDITION_FAILED - invalid expiration 'abc': no_integer",
    ),
    "a negative expiration": (
        lambda c, n: c.basic_publish("", n, b"", pika.BasicProperties(expiration="-1")),
        "PRECONDITION_FAILED - invalid expiration '-1': {{value_negative,-1}}",
    ),
    "ack of an unknown tag": (
        lambda c, n: c.basic_ack(99),
        "PRECONDITION_FAILED - unknown delivery tag 99",
    ),
    "nack of an unknown tag": (
        lambda c, n: c.basic_nack(98),
        "PRECONDITION_FAILED - unknown delivery tag 98",
    ),
    "reject of an unknown tag": (
        lambda c, n: c.basic_reject(97),
        "PRECONDITION_FAILED - unknown delivery tag 97",
    ),
    "ack of a settled tag": (
        lambda c, n: settle_twice(c, n + ".filled"),
        "PRECONDITION_FAILED - unknown delivery tag 1",
    ),
    "negative TTL": (
        declare(".new", arguments={"x-message-ttl": -1}),
        invalid("x-message-ttl", "{value_negative,-1}"),
    ),
    "TTL that is no number": (
        declare(".new", arguments={"x-message-ttl": "soon"}),
        invalid("x-message-ttl", '"expected integer, got longstr"'),
    ),
    "expiry of zero": (declare(".new", arguments={"x-expires": 0}), invalid("x-expires", "{value_zero,0}")),
    "negative expiry": (declare(".new", arguments={"x-expires": -5}), invalid("x-expires", "{value_negative,-5}")),
    "unknown queue type": (
        declare(".new", durable=True, arguments={"x-queue-type": "zz"}),
        invalid("x-queue-type", "\"unsupported queue type 'zz'\""),
    ),
    "quorum queue that is not durable": (
        declare(".new", arguments={"x-queue-type": "quorum"}),
        "PRECONDITION_FAILED - invalid property 'non-durable' for queue '{n}.new' in vhost '/'",
    ),
    "quorum queue that is exclusive": (
        declare(".new", durable=True, exclusive=True, arguments={"x-queue-type": "quorum"}),
        "PRECONDITION_FAILED - invalid property 'exclusive-owner' for queue '{n}.new' in vhost '/'",
    ),
    "delete of a queue in use": (
        lambda c, n: c.queue_delete(n + ".used", if_unused=True),
        "PRECONDITION_FAILED - queue '{n}.used' in vhost '/' in use",
    ),
    "delete of a queue with messages": (
        lambda c, n: c.queue_delete(n + ".filled", if_empty=True),
        "PRECONDITION_FAILED - queue '{n}.filled' in vhost '/' not empty",
    ),
    "delete of an exchange in use": (
        lambda c, n: c.exchange_delete(n + ".bound", if_unused=True),
        "PRECONDITION_FAILED - exchange '{n}.bound' in vhost '/' in use",
    ),
}
ROWS = {
    **{case: (act, 404, text) for case, (act, text) in NOT_FOUND.items()},
    **{case: (act, 403, text) for case, (act, text) in REFUSED.items()},
    **{f"{case} on another's exclusive queue": (act, 405, LOCKED) for case, act in EXCLUSIVE.items()},
    **{case: (act, 406, text) for case, (act, text) in PRECONDITION.items()},
}


def settle_twice(channel, queue):
    """Ack one delivery two times."""
    method, _, _ = channel.basic_get(queue)
    channel.basic_ack(method.delivery_tag)
    channel.basic_ack(method.delivery_tag)


@pytest.fixture(scope="module")
def scene(broker):
    """What the rows trip over, held by a connection that stays open; gives the prefix of all names."""
    holder = pika.BlockingConnection(parameters(broker, heartbeat=0))
    c, n = holder.channel(), f"t-{uuid.uuid4().hex[:12]}"
    c.queue_declare(n + ".plain")
    c.queue_declare(n + ".durable", durable=True)
    c.queue_declare(n + ".exclusive", exclusive=True)
    c.queue_declare(n + ".ttl", arguments={"x-message-ttl": 5000})
    for queue, exclusive in ((".alone", True), (".used", False)):
        c.queue_declare(n + queue)
        c.basic_consume(n + queue, print, exclusive=exclusive)
    c.queue_declare(n + ".filled")
    c.confirm_delivery()
    for _ in range(3):
        c.basic_publish("", n + ".filled", b"x")
    c.exchange_declare(n + ".exchange", "fanout")
    c.exchange_declare(n + ".internal", "fanout", internal=True)
    c.exchange_declare(n + ".bound", "fanout")
    c.queue_bind(n + ".durable", n + ".bound")
    yield n
    for queue in (".plain", ".durable", ".ttl", ".alone", ".used", ".filled"):
        c.queue_delete(n + queue)
    for each in (".exchange", ".internal", ".bound"):
        c.exchange_delete(n + each)
    holder.close()


@pytest.mark.parametrize("case", ROWS)
def test_the_channel_is_closed_with_code_and_text_and_the_connection_goes_on(connection, scene, case):
    act, code, text = ROWS[case]
    channel, bystander = connection.channel(), connection.channel()
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as refusal:
        act(channel, scene)
        channel.queue_declare(scene + ".durable", passive=True)  # an asynchronous error has arrived by now
    assert (refusal.value.reply_code, refusal.value.reply_text) == (code, text.format(n=scene)[:255])
    bystander.queue_declare(scene + ".durable", passive=True)
    number = channel.channel_number
    assert connection.channel(number).is_open  # the number is free again


NO_ERROR = {
    "delete of a missing queue": lambda c, n: c.queue_delete(n + ".none").method.message_count == 0,
    "delete of a missing exchange": lambda c, n: c.exchange_delete(n + ".none"),
    "unbind from a missing exchange": lambda c, n: c.queue_unbind(n + ".durable", n + ".none", "k"),
    "unbind of a missing queue": lambda c, n: c.queue_unbind(n + ".none", "amq.direct", "k"),
    "unbind of a missing binding": lambda c, n: c.queue_unbind(n + ".durable", "amq.direct", "never"),
    "cancel of an unknown consumer": lambda c, n: c.basic_cancel("never") is not None,
    "the same declare again": lambda c, n: c.queue_declare(n + ".ttl", arguments={"x-message-ttl": 5000}),
    "an unknown x- argument": lambda c, n: c.queue_declare(n + ".plain", arguments={"x-of-my-own": 1}),
    "a passive declare that differs": lambda c, n: c.queue_declare(n + ".plain", passive=True, durable=True),
    "a predeclared exchange again": lambda c, n: c.exchange_declare("amq.topic", "topic", durable=True),
}


@pytest.mark.parametrize("case", NO_ERROR)
def test_what_looks_like_an_error_but_is_none(channel, scene, case):
    assert NO_ERROR[case](channel, scene)
    assert channel.is_open
