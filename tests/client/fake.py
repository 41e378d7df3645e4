"""A broker or name server of a few lines, which answers as a test says."""

import asyncio

from corduroy.client.codes import Request, Response
from corduroy.client.frames import RESPONSE_BIT, Frame, FrameReader, encode
from corduroy.client.lenient_json import dumps


class Fake:
    """`async with Fake() as broker`: answers[code](request) returns the Frame to answer with, or None."""

    def __init__(self, port=0, tls=None):
        self.answers = {}
        self.seen = []  # frames, in order
        self.port = port
        self._tls = tls
        self._writers = []

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        return self

    async def __aexit__(self, *_):
        self._server.close()
        self.hang_up()

    def hang_up(self):
        """Close all connections."""
        for writer in self._writers:
            writer.close()
        self._writers.clear()

    def ask(self, frame):
        """Send a request to whoever is connected."""
        for writer in self._writers:
            writer.write(encode(frame))

    async def _serve(self, reader, writer):
        self._writers.append(writer)
        frames = FrameReader()
        try:
            await self._converse(reader, writer, frames)
        except (asyncio.CancelledError, ConnectionError):
            pass

    async def _converse(self, reader, writer, frames):
        while data := await reader.read(1 << 16):
            frames.feed(data)
            while (frame := frames.next_frame()) is not None:
                self.seen.append(frame)
                answer = self.answers.get(frame.code, lambda frame: Frame(Response.SUCCESS))(frame)
                if answer is not None and not frame.is_one_way and not frame.is_response:
                    answer.opaque, answer.flag = frame.opaque, RESPONSE_BIT
                    writer.write(encode(answer))

    def codes(self):
        """Of the requests seen."""
        return [frame.code for frame in self.seen if not frame.is_response]

    def route(self, *brokers, queues=1):
        """Answer every question for a route: brokers by name, each a Fake; this one is the name server."""
        data = {
            "brokerDatas": [
                {"brokerName": name, "cluster": "c", "brokerAddrs": {"0": fake.address}} for name, fake in brokers
            ],
            "queueDatas": [
                {"brokerName": name, "perm": 6, "readQueueNums": queues, "writeQueueNums": queues, "topicSysFlag": 0}
                for name, _ in brokers
            ],
        }
        self.answers[Request.GET_ROUTEINFO_BY_TOPIC] = lambda frame: Frame(Response.SUCCESS, body=dumps(data))


def stored(frame):
    """What a broker says of a message that it stored."""
    return Frame(
        Response.SUCCESS, {"msgId": "7F00000100002A9F" + "0" * 16, "queueId": frame.fields["e"], "queueOffset": "7"}
    )


def refuse(code, remark="no"):
    """A function that refuses."""
    return lambda frame: Frame(code, remark=remark)
