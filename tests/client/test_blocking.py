"""The client without asyncio: the same, waiting; used from several threads, and after an error."""

import threading

import pytest

from corduroy.client import ConsumeFrom, Message, TransactionState, blocking
from corduroy.client import admin as asyncio_admin
from corduroy.client.errors import ClientError, InvalidMessage


def test_a_program_without_asyncio_sends_and_consumes(broker, name):
    seen, enough = [], threading.Event()

    def listener(messages):
        seen.extend(message.body for message in messages)
        if len(seen) == 6:
            enough.set()

    with blocking.Producer(name, broker.name_server) as producer:
        producer.send(Message(name, b"0"))
        producer.send_batch([Message(name, b"1"), Message(name, b"2")])
        assert producer.send_async(Message(name, b"3")).result(10).queue.topic == name
        producer.send_one_way(Message(name, b"4"))
        assert len(producer.queues(name)) == 4
        consumer = blocking.PushConsumer(name, listener, broker.name_server, consume_from=ConsumeFrom.FIRST)
        consumer.subscribe(name)
        with consumer:
            producer.send(Message(name, b"5"))
            assert enough.wait(30)
    assert sorted(seen) == [b"%d" % i for i in range(6)]


def test_a_client_is_used_from_many_threads(broker, name):
    results = []
    with blocking.Producer(name, broker.name_server) as producer:

        def work():
            for _ in range(10):
                results.append(producer.send(Message(name, b"x")))

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len({(result.queue, result.queue_offset) for result in results}) == 80


def test_pulling_popping_and_transactions_wait_too(broker, name):
    with blocking.TransactionProducer(name, lambda message: TransactionState.ROLLBACK, broker.name_server) as producer:
        result = producer.send(Message(name, b"x"))
        _, state = producer.send_transaction(Message(name, b"y"), lambda message: TransactionState.ROLLBACK)
        assert state is TransactionState.ROLLBACK
    with blocking.PullConsumer(name, broker.name_server) as consumer:
        assert [each.body for each in consumer.pull(result.queue, 0, wait=5).messages] == [b"x"]
        consumer.commit(result.queue, 1)
        assert consumer.committed(result.queue) == 1
    with blocking.PopConsumer(f"{name}-pop", broker.name_server) as popper:
        while not (messages := popper.pop(name, wait=5)):
            pass
        popper.ack(messages[0])
    with blocking.Admin(broker.name_server) as admin:
        assert name in admin.topics()


def test_errors_come_out_where_the_method_was_called():
    with blocking.Producer("g", "127.0.0.1:1", timeout=0.2) as producer:
        with pytest.raises(InvalidMessage):
            producer.send(Message("t", b""))
        with pytest.raises(ClientError):
            producer.send(Message("t", b"x"))


def test_every_call_of_the_admin_is_there():
    theirs = {name for name in vars(asyncio_admin.Admin) if not name.startswith("_")} - {"ask", "ask_name_server"}
    assert theirs <= set(dir(blocking.Admin))
