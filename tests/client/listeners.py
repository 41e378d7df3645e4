"""What tests of consumers share: a listener that keeps what it gets, consumers of one topic, messages for them."""

import asyncio

from corduroy.client.assignment import ConsumeFrom
from corduroy.client.messages import Message
from corduroy.client.producer import Producer
from corduroy.client.push_consumer import PushConsumer


class Seen:
    """A listener that keeps what it gets; `fail` says what to answer."""

    def __init__(self, answer=lambda message: None):
        self.messages = []
        self.answer = answer
        self.changed = asyncio.Event()

    async def __call__(self, messages):
        self.messages += messages
        self.changed.set()
        answers = [self.answer(message) for message in messages]
        return next((each for each in answers if each is not None), None)

    @property
    def bodies(self):
        return [message.body for message in self.messages]

    async def until(self, condition):
        while not condition(self):
            self.changed.clear()
            await self.changed.wait()


def consumer(broker, group, topic, listener, *subscription, **options):
    """A push consumer of one topic."""
    options.setdefault("consume_from", ConsumeFrom.FIRST)
    made = PushConsumer(group, listener, broker.name_server, **options)
    made.subscribe(topic, *subscription)
    return made


async def send(broker, topic, *messages):
    """Send bodies or messages to it."""
    async with Producer(topic, broker.name_server) as producer:
        return [await producer.send(each if isinstance(each, Message) else Message(topic, each)) for each in messages]
