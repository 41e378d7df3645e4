"""What tools ask, at a real broker: topics, groups, connections, how far groups are, single messages."""

import asyncio

import pytest

from corduroy.client.admin import Admin
from corduroy.client.errors import BrokerError, ConsumerNotOnline, QueryNotFound, TopicNotExist
from corduroy.client.messages import Message
from corduroy.client.producer import Producer
from corduroy.client.pull_consumer import PullConsumer
from tests.client.listeners import Seen, consumer, send


async def until(make, condition):
    """What `make` gives once it is as it must be; what is refused meanwhile is not there yet."""
    while True:
        try:
            if condition(found := await make()):
                return found
        except BrokerError:
            pass
        await asyncio.sleep(0.05)


def test_clusters_and_their_masters_are_told(broker, run):
    async def life():
        async with Admin(broker.name_server) as admin:
            clusters = await admin.clusters()
            (brokers,) = clusters.values()
            assert [table[0] for table in brokers.values()] == await admin.masters(*clusters)

    run(life())


def test_a_topic_is_made_changed_and_deleted(broker, name, run):
    async def life():
        async with Admin(broker.name_server) as admin:
            await admin.create_topic(name, queues=3, perm=4)
            await until(admin.topics, lambda topics: name in topics)
            config = await admin.topic_config(name)
            assert (config["readQueueNums"], config["writeQueueNums"], config["perm"]) == (3, 3, 4)
            route = await admin.route(name)
            assert (len(route.read_queues), route.write_queues) == (3, [])
            await admin.create_topic(name, read_queues=5, write_queues=2)
            await until(lambda: admin.route(name), lambda route: len(route.read_queues) == 5)
            assert len((await admin.route(name)).write_queues) == 2
            await admin.delete_topic(name)
            with pytest.raises(TopicNotExist):
                await admin.route(name)
            with pytest.raises(TopicNotExist):
                await admin.topic_config(name)

    run(life())


def test_a_group_is_made_changed_and_deleted(broker, name, run):
    async def life():
        async with Admin(broker.name_server) as admin:
            await admin.create_group(name, retryMaxTimes=3)
            assert (await admin.groups())[name]["retryMaxTimes"] == 3
            await admin.create_group(name, consumeEnable=False)
            config = await admin.group_config(name)
            assert (config["groupName"], config["retryMaxTimes"], config["consumeEnable"]) == (name, 16, False)
            await admin.delete_group(name)
            assert name not in await admin.groups()

    run(life())


def test_a_groups_members_and_its_progress_are_told(broker, name, run):
    async def life():
        await send(broker, name, b"1", b"2", b"3")
        seen = Seen()
        async with Admin(broker.name_server) as admin:
            with pytest.raises(ConsumerNotOnline):
                await admin.consumer_connections(name)
            async with consumer(broker, name, name, seen) as reader:
                await seen.until(lambda seen: len(seen.bodies) == 3)
                connections = await admin.consumer_connections(name)
                (member,) = connections["connectionSet"]
                assert member["clientId"] == reader.remoting.client_id
                assert connections["subscriptionTable"][name]["subString"] == "*"
                info = await admin.running_info(name, member["clientId"])
                assert len(info["mqTable"]) == len(reader.assignment.queues) > 0
                assert name in await admin.groups_of(name)
            stats = await admin.consume_stats(name, name)
            assert sum(each["consumerOffset"] for each in stats.values()) == 3
            assert {each["consumerOffset"] - each["brokerOffset"] for each in stats.values()} == {0}
            assert name in await admin.topics_of(name)
            bounds = await admin.topic_stats(name)
            assert sum(each["maxOffset"] for each in bounds.values()) == 3

    run(life())


def test_a_producers_connection_is_told(broker, name, run):
    async def life():
        async with Admin(broker.name_server) as admin, Producer(name, broker.name_server) as producer:
            assert await admin.producer_connections(name) == []
            await producer.send(Message(name, b"x"))
            (member,) = await until(lambda: admin.producer_connections(name), bool)
            assert member["clientId"] == producer.remoting.client_id and member["language"] == "PYTHON"

    run(life())


def test_messages_are_found_by_both_ids_and_by_key(broker, name, run):
    async def life():
        async with Producer(name, broker.name_server) as producer, Admin(broker.name_server) as admin:
            first = await producer.send(Message(name, b"one", keys=["k"]))
            second = await producer.send(Message(name, b"two", keys=["k", "other"]))
            assert (await admin.message(name, first.offset_message_id)).body == b"one"
            found = await until(lambda: admin.messages_by_key(name, "k"), lambda found: len(found) == 2)
            assert {each.body for each in found} == {b"one", b"two"}
            assert (await admin.message(name, second.message_id)).body == b"two"
            with pytest.raises(QueryNotFound):
                await admin.messages_by_key(name, "nobody's")

    run(life())


def test_a_group_is_sent_back_and_reads_again(broker, name, run):
    async def life():
        (result,) = await send(broker, name, b"1")
        seen = Seen()
        async with Admin(broker.name_server) as admin, consumer(broker, name, name, seen) as reader:
            await seen.until(lambda seen: seen.bodies)
            await reader.assignment.commit()
            stored = await admin.message(name, result.offset_message_id)
            offsets = await admin.reset_offset(name, name, stored.store_ms)
            assert offsets[result.queue] == 0
            async with Producer(name, broker.name_server) as producer:
                await producer.send(Message(name, b"2"), queue=result.queue)  # ends the poll that is parked
            await seen.until(lambda seen: seen.bodies.count(b"1") == 2)

    run(life())


def test_one_queues_offset_is_set(broker, name, run):
    async def life():
        (result,) = await send(broker, name, b"1")
        async with Admin(broker.name_server) as admin, PullConsumer(name, broker.name_server) as puller:
            await puller.queues(name)
            await puller.pull(result.queue, 0, wait=5)
            await puller.commit(result.queue, 0)
            await admin.reset_queue_offset(name, result.queue, 1)
            assert await puller.committed(result.queue) == 1

    run(life())


def test_a_brokers_configuration_is_read_and_changed(broker, run):
    async def life():
        async with Admin(broker.name_server) as admin:
            (address, *_) = await admin.masters()
            assert (await admin.broker_config(address))["brokerName"]
            before = (await admin.broker_config(address))["defaultTopicQueueNums"]
            await admin.update_broker_config(address, {"defaultTopicQueueNums": 9})
            assert (await admin.broker_config(address))["defaultTopicQueueNums"] == "9"
            await admin.update_broker_config(address, {"defaultTopicQueueNums": before})
            assert int((await admin.runtime_info(address))["bootTimestamp"]) > 0
            with pytest.raises(BrokerError, match="stats"):
                await admin.broker_stats(address, "TOPIC_PUT_NUMS", "nobody's")

    run(life())


def test_a_name_server_keeps_key_values_and_writing_can_be_stopped(broker, name, run):
    async def life():
        async with Admin(broker.name_server) as admin:
            await admin.put_kv("test", name, "v")
            assert await admin.get_kv("test", name) == "v"
            await admin.delete_kv("test", name)
            with pytest.raises(QueryNotFound):
                await admin.get_kv("test", name)
            ((broker_name, _),) = next(iter((await admin.clusters()).values())).items()
            assert await admin.wipe_write_perm(broker_name) > 0
            assert await admin.add_write_perm(broker_name) > 0

    run(life())
