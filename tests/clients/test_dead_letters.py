"""Dead lettering as clients see it (amqp.md Q1, Q4, Q5)."""

import contextlib

import pika
import pytest

from tests.clients.deliveries import Inbox, drain, fill, pump


@pytest.fixture
def dead(channel, name):
    """A queue for dead letters, behind a fanout exchange of the same name."""
    channel.exchange_declare(name + ".dlx", "fanout", auto_delete=True)
    channel.queue_declare(name + ".dead", exclusive=True)
    channel.queue_bind(name + ".dead", name + ".dlx")
    return name + ".dead"


@contextlib.contextmanager
def refused(code, text):
    """The block's channel is closed with exactly this."""
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as refusal:
        yield
    assert (refusal.value.reply_code, refusal.value.reply_text) == (code, text)


def declare(channel, name, **arguments):
    channel.queue_declare(name, exclusive=True, arguments={"x-dead-letter-exchange": name + ".dlx", **arguments})


def letters(channel, dead, count):
    """Wait for so many dead letters; return (body, properties, method) of each."""
    got = []

    def arrived():
        got.extend(drain(channel, dead))
        return len(got) >= count

    pump(channel.connection, arrived)
    return got


def test_a_reject_and_a_nack_without_requeue_dead_letter(channel, name, dead):
    declare(channel, name)
    fill(channel, name, [b"0", b"1", b"2"], headers={"mine": 7}, content_type="text/plain")
    tags = [channel.basic_get(name)[0].delivery_tag for _ in range(3)]
    channel.basic_reject(tags[0], requeue=False)
    channel.basic_nack(tags[2], multiple=True, requeue=False)
    got = letters(channel, dead, 3)
    assert [each.body for each in got] == [b"0", b"1", b"2"]
    for each in got:
        assert (each.method.exchange, each.method.routing_key) == (name + ".dlx", name)
        assert each.properties.content_type == "text/plain"
        fields = each.properties.headers
        assert fields["mine"] == 7
        assert fields["x-first-death-queue"] == name
        assert (fields["x-first-death-reason"], fields["x-first-death-exchange"]) == ("rejected", "")
        (death,) = fields["x-death"]
        assert death.pop("time")
        assert death == {"count": 1, "reason": "rejected", "queue": name, "exchange": "", "routing-keys": [name]}


def test_an_expired_message_loses_its_expiration_and_keeps_it_in_its_death(channel, name, dead):
    declare(channel, name, **{"x-dead-letter-routing-key": "other"})
    fill(channel, name, [b"soon"], expiration="20")
    (letter,) = letters(channel, dead, 1)
    assert letter.method.routing_key == "other" and letter.properties.expiration is None
    (death,) = letter.properties.headers["x-death"]
    assert (death["reason"], death["original-expiration"]) == ("expired", "20")
    assert death["routing-keys"] == [name]


def test_a_queue_s_ttl_dead_letters_whether_or_not_somebody_consumes(channel, name, dead):
    declare(channel, name, **{"x-message-ttl": 30})
    fill(channel, name, [b"0", b"1"])
    assert [each.body for each in letters(channel, dead, 2)] == [b"0", b"1"]


def test_a_headers_exchange_sees_the_headers_of_the_dead_message(channel, name):
    channel.exchange_declare(name + ".dlx", "headers", auto_delete=True)
    bindings = {
        "mine": {"x-match": "all", "kind": "a"},
        "expired": {"x-match": "all-with-x", "x-first-death-reason": "expired"},
        "other": {"x-match": "any", "kind": "b"},
    }
    for queue, arguments in bindings.items():
        channel.queue_declare(f"{name}.{queue}", exclusive=True)
        channel.queue_bind(f"{name}.{queue}", name + ".dlx", arguments=arguments)
    declare(channel, name, **{"x-message-ttl": 30})
    fill(channel, name, [b"1"], headers={"kind": "a"})
    assert [each.body for each in letters(channel, name + ".expired", 1)] == [b"1"]
    assert [each.body for each in drain(channel, name + ".mine")] == [b"1"]
    assert drain(channel, name + ".other") == []


def test_an_exchange_with_a_history_remembers_dead_letters(channel, name):
    channel.exchange_declare(name + ".dlx", "x-recent-history", auto_delete=True)
    channel.queue_declare(name + ".first", exclusive=True)
    channel.queue_bind(name + ".first", name + ".dlx")
    declare(channel, name)
    fill(channel, name, [b"1", b"2"])
    fill(channel, name, [b"unseen"], headers={"x-recent-history-no-store": True})
    for _ in range(3):
        channel.basic_reject(channel.basic_get(name)[0].delivery_tag, requeue=False)
    assert [each.body for each in letters(channel, name + ".first", 3)] == [b"1", b"2", b"unseen"]
    channel.queue_declare(name + ".late", exclusive=True)
    channel.queue_bind(name + ".late", name + ".dlx")
    late = letters(channel, name + ".late", 2)
    assert [each.body for each in late] == [b"1", b"2"]
    assert late[0].properties.headers["x-first-death-reason"] == "rejected"


def test_each_key_of_a_dead_letter_counts_and_each_queue_gets_it_once(channel, name):
    channel.exchange_declare(name + ".dlx", "topic", auto_delete=True)
    for queue, patterns in {"a": ("copy", "*"), "b": ("copy",), "c": (name,)}.items():
        channel.queue_declare(f"{name}.{queue}", exclusive=True)
        for pattern in patterns:
            channel.queue_bind(f"{name}.{queue}", name + ".dlx", pattern)
    declare(channel, name)
    fill(channel, name, [b"1"], headers={"CC": ["copy"]})
    channel.basic_reject(channel.basic_get(name)[0].delivery_tag, requeue=False)
    for queue in "abc":
        assert [each.body for each in letters(channel, f"{name}.{queue}", 1)] == [b"1"]


def test_a_retry_loop_counts_its_deaths(channel, name):
    """The usual pattern: work, rejected, waits in a queue with a TTL, comes back."""
    work, wait = name, name + ".wait"
    to = {"x-dead-letter-exchange": ""}
    channel.queue_declare(work, exclusive=True, arguments={**to, "x-dead-letter-routing-key": wait})
    channel.queue_declare(
        wait, exclusive=True, arguments={**to, "x-dead-letter-routing-key": work, "x-message-ttl": 10}
    )
    fill(channel, work, [b"job"])
    inbox = Inbox()
    channel.basic_consume(work, inbox)
    for attempt in range(3):
        inbox.wait(channel.connection, attempt + 1)
        channel.basic_reject(inbox.got[-1].method.delivery_tag, requeue=False)
    inbox.wait(channel.connection, 4)
    deaths = inbox.got[-1].properties.headers["x-death"]
    assert [(each["queue"], each["reason"], each["count"]) for each in deaths] == [
        (wait, "expired", 3),
        (work, "rejected", 3),
    ]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"x-dead-letter-routing-key": "k"}, "invalid arg 'x-dead-letter-routing-key' for {}: "
         "routing_key_but_no_dlx_defined"),
        ({"x-dead-letter-exchange": 5}, "invalid type 'signedint' for arg 'x-dead-letter-exchange' in {}"),
        ({"x-dead-letter-exchange": "x", "x-dead-letter-routing-key": 5},
         "invalid arg 'x-dead-letter-routing-key' for {}: {{unacceptable_type,signedint}}"),
    ],
)  # fmt: skip
def test_arguments_that_cannot_be_are_refused(channel, name, arguments, text):
    with refused(406, "PRECONDITION_FAILED - " + text.format(f"queue '{name}' in vhost '/'")):
        channel.queue_declare(name, arguments=arguments)


def test_another_exchange_on_a_redeclare_is_refused(channel, name):
    declare(channel, name)
    current = f"inequivalent arg 'x-dead-letter-exchange' for queue '{name}' in vhost '/': received 'y' but current is"
    with refused(406, f"PRECONDITION_FAILED - {current} '{name}.dlx'"):
        channel.queue_declare(name, exclusive=True, arguments={"x-dead-letter-exchange": "y"})


def test_acks_and_purges_and_deletes_leave_no_letters(channel, name, dead):
    declare(channel, name)
    fill(channel, name, [b"acked", b"purged"])
    channel.basic_ack(channel.basic_get(name)[0].delivery_tag)
    channel.queue_purge(name)
    fill(channel, name, [b"deleted"])
    channel.queue_delete(name)
    channel.basic_publish("", dead, b"last", pika.BasicProperties())
    assert [each.body for each in letters(channel, dead, 1)] == [b"last"]


def test_a_reject_in_a_transaction_dead_letters_at_its_commit(channel, name, dead):
    declare(channel, name)
    fill(channel, name, [b"0"])
    channel.tx_select()
    channel.basic_reject(channel.basic_get(name)[0].delivery_tag, requeue=False)
    channel.tx_rollback()
    channel.tx_commit()
    assert drain(channel.connection.channel(), dead) == []
    channel.basic_reject(1, requeue=False)
    channel.tx_commit()
    assert [each.body for each in letters(channel.connection.channel(), dead, 1)] == [b"0"]
