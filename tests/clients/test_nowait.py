"""Methods with no-wait get no answer, and pipelined ones are carried out in order (amqp.md E10)."""

from pika import spec

from tests.clients.raw import encode_content, encode_method


def test_nowait_methods_work_without_an_answer(raw, name):
    client = raw().open()
    methods = [
        spec.Exchange.Declare(exchange=name, type="fanout", nowait=True),
        spec.Exchange.Bind(destination=name, source="amq.direct", routing_key=name, nowait=True),
        spec.Queue.Declare(queue=name, nowait=True),
        spec.Queue.Bind(queue=name, exchange=name, nowait=True),
        spec.Confirm.Select(nowait=True),
        spec.Basic.Publish(exchange="amq.direct", routing_key=name),
    ]
    client.send(b"".join(encode_method(each, 1) for each in methods) + encode_content(1, b"1"))
    ack = client.expect(spec.Basic.Ack, 1)
    assert ack.delivery_tag == 1
    assert client.call(spec.Queue.Declare(queue=name, passive=True), spec.Queue.DeclareOk).message_count == 1
    ending = [
        spec.Basic.Consume(queue=name, consumer_tag="c", no_ack=True, nowait=True),
        spec.Basic.Cancel(consumer_tag="c", nowait=True),
        spec.Queue.Purge(queue=name, nowait=True),
        spec.Exchange.Unbind(destination=name, source="amq.direct", routing_key=name, nowait=True),
        spec.Queue.Delete(queue=name, nowait=True),
        spec.Exchange.Delete(exchange=name, nowait=True),
        spec.Exchange.Declare(exchange=name, passive=True),
    ]
    client.send(b"".join(encode_method(each, 1) for each in ending))
    while isinstance(method := client.read_method(1), spec.Basic.Deliver):
        client.read_content()
    assert isinstance(method, spec.Channel.Close) and method.reply_code == 404


def test_pipelined_methods_are_answered_in_order(raw, name):
    client = raw().open()
    methods = [
        spec.Queue.Declare(queue=name, exclusive=True),
        spec.Queue.Bind(queue=name, exchange="amq.fanout"),
        spec.Basic.Qos(prefetch_count=3),
        spec.Queue.Unbind(queue=name, exchange="amq.fanout"),
        spec.Queue.Purge(queue=name),
        spec.Queue.Delete(queue=name),
    ]
    answers = [
        spec.Queue.DeclareOk,
        spec.Queue.BindOk,
        spec.Basic.QosOk,
        spec.Queue.UnbindOk,
        spec.Queue.PurgeOk,
        spec.Queue.DeleteOk,
    ]
    client.send(b"".join(encode_method(each, 1) for each in methods))
    for answer in answers:
        client.expect(answer, 1)


def test_an_empty_queue_name_means_the_last_declared_one(raw):
    client = raw().open()
    declared = client.call(spec.Queue.Declare(queue="", exclusive=True), spec.Queue.DeclareOk)
    client.call(spec.Queue.Bind(queue="", exchange="amq.direct", routing_key=""), spec.Queue.BindOk)
    client.send_method(spec.Basic.Publish(exchange="", routing_key=declared.queue), 1)
    client.send(encode_content(1, b"1"))
    client.send_method(spec.Basic.Get(queue="", no_ack=True), 1)
    client.expect(spec.Basic.GetOk, 1)
    assert client.read_content()[1] == b"1"


def test_an_empty_queue_name_without_a_declare_is_refused(raw):
    client = raw().open()
    client.send_method(spec.Basic.Get(queue=""), 1)
    close = client.read_method()
    assert close.reply_code in (404, 530)


def test_active_flow_is_answered(raw):
    assert raw().open().call(spec.Channel.Flow(active=True), spec.Channel.FlowOk).active is True
