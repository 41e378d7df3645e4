"""Where a consumer begins in a queue, and where it goes on when the broker says that it must be elsewhere."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from corduroy.client.assignment import ConsumeFrom
from corduroy.client.codes import Request, Response
from corduroy.client.frames import Frame
from tests.client.fake import Fake, refuse
from tests.client.listeners import Seen, consumer


@pytest.mark.parametrize(
    ("consume_from", "first"), [(ConsumeFrom.LAST, 50), (ConsumeFrom.FIRST, 0), (ConsumeFrom.TIMESTAMP, 7)]
)
def test_a_new_group_begins_where_it_is_told(run, consume_from, first):
    async def life():
        async with fake_broker() as (fake, pulls):
            options = {"consume_from": consume_from, "from_ms": 1234}
            async with consumer(fake, "g", "t", Seen(), client_id="me", **options):
                assert (await pulls.get()).fields["queueOffset"] == str(first)
            asked = [frame for frame in fake.seen if frame.code == Request.SEARCH_OFFSET_BY_TIMESTAMP]
            assert [frame.fields["timestamp"] for frame in asked] == ["1234"] * (first == 7)

    run(life())


def test_an_offset_that_is_not_there_is_replaced_by_the_brokers(run):
    async def life():
        async with fake_broker() as (fake, pulls):
            said = {"nextBeginOffset": "20", "minOffset": "20", "maxOffset": "50"}
            fake.answers[Request.PULL_MESSAGE] = lambda frame: (
                pulls.put_nowait(frame)
                or (Frame(Response.PULL_OFFSET_MOVED, dict(said)) if frame.fields["queueOffset"] == "0" else None)
            )
            async with consumer(fake, "g", "t", Seen(), client_id="me"):
                assert [(await pulls.get()).fields["queueOffset"] for _ in range(2)] == ["0", "20"]
                committed = [f.fields for f in fake.seen if f.code == Request.UPDATE_CONSUMER_OFFSET]
                assert [fields["commitOffset"] for fields in committed] == ["20"]

    run(life())


def test_a_broker_may_send_a_group_back_while_it_reads(run):
    async def life():
        async with fake_broker() as (fake, pulls):
            reader = consumer(fake, "g", "t", Seen(), client_id="me", consume_from=ConsumeFrom.LAST)
            async with reader:
                parked = await pulls.get()
                assert parked.fields["queueOffset"] == "50"
                queue = '{"brokerName":"a","queueId":0,"topic":"t"}'
                fake.ask(Frame(220, {"group": "g", "topic": "t"}, b'{"offsetTable":{%s:33}}' % queue.encode(), flag=2))
                while not [f for f in fake.seen if f.fields.get("commitOffset") == "33"]:
                    await asyncio.sleep(0.01)
                said = {"nextBeginOffset": "50", "minOffset": "0", "maxOffset": "50"}
                fake.ask(Frame(Response.PULL_NOT_FOUND, said, opaque=parked.opaque, flag=1))  # of before: not wanted
                assert (await pulls.get()).fields["queueOffset"] == "33"

    run(life())


@asynccontextmanager
async def fake_broker():
    """(a broker whose one queue has 50 messages and nothing to give, the pulls that it gets)."""
    pulls = asyncio.Queue()
    async with Fake() as fake:
        fake.name_server = fake.address
        fake.route(("a", fake))
        offsets = {Request.GET_MAX_OFFSET: "50", Request.SEARCH_OFFSET_BY_TIMESTAMP: "7"}
        for code, offset in offsets.items():
            fake.answers[code] = lambda frame, offset=offset: Frame(0, {"offset": offset})
        fake.answers[Request.QUERY_CONSUMER_OFFSET] = refuse(Response.QUERY_NOT_FOUND)
        fake.answers[Request.GET_CONSUMER_LIST_BY_GROUP] = lambda frame: Frame(0, body=b'{"consumerIdList":["me"]}')

        def parked(frame):
            if frame.fields["topic"] == "t":
                pulls.put_nowait(frame)

        fake.answers[Request.PULL_MESSAGE] = parked
        yield fake, pulls
