"""Requests to a name server as bytes, and its answers; brokers made of the JSON that real ones send."""

import json
import struct

from namesrv.config import Config
from namesrv.requests import Files, NameServer
from protocols.remoting.codes import VERSION
from protocols.remoting.frame import Frame

BROKER = {
    **{"brokerName": "b", "brokerAddr": "127.0.0.1:1", "clusterName": "c", "brokerId": "0"},
    **{"haServerAddr": "127.0.0.1:2"},
}
SLAVE = {**BROKER, "brokerId": "1", "brokerAddr": "127.0.0.1:5", "haServerAddr": "127.0.0.1:6"}


def request(code, fields=None, body=b"", *, version=VERSION, flag=0, opaque=7):
    """The bytes of a request."""
    header = {"code": code, "flag": flag, "language": "JAVA", "opaque": opaque, "version": version}
    if fields is not None:
        header["extFields"] = fields
    text = json.dumps(header).encode()
    return struct.pack(">II", 4 + len(text) + len(body), len(text)) + text + body


def topic(name, **changes):
    """A topic as a broker has it."""
    return {
        **{"attributes": {}, "order": False, "perm": 6, "readQueueNums": 4, "topicFilterType": "SINGLE_TAG"},
        **{"topicName": name, "topicSysFlag": 0, "writeQueueNums": 4},
        **changes,
    }


def registering(*topics, counter=1, state=0, filters=(), mappings=None):
    """The body of a registration."""
    named = [topic(each) if isinstance(each, str) else each for each in topics]
    wrapper = {
        "dataVersion": {"counter": counter, "stateVersion": state, "timestamp": 1000},
        "topicConfigTable": {each["topicName"]: each for each in named},
        "topicQueueMappingInfoMap": mappings or {},
    }
    return json.dumps({"filterServerList": list(filters), "topicConfigSerializeWrapper": wrapper}).encode()


class World:
    """A name server with a clock that stands, and files in memory."""

    def __init__(self, text=""):
        self.time = 100.0
        self.saved = {}
        self.full_disk = False
        self.events = []
        config = Config({"kvConfigPath": "kv", "configStorePath": "conf", "rocketmqHome": "home"}, text)
        files = Files(save_kv=lambda data: self._save("kv", data), save_config=lambda data: self._save("conf", data))
        self.names = NameServer(config, files, lambda: self.time, lambda event, **fields: self.events.append(event))
        self.frame = Frame()
        self.routes = self.names.routes

    def _save(self, name, content):
        if self.full_disk:
            raise OSError(28, "No space left on device")
        self.saved[name] = content

    def ask(self, code, fields=None, body=b"", *, version=VERSION, channel="channel"):
        """The answer to a request."""
        data = bytearray(request(code, fields, body, version=version))
        assert self.frame.take(data, 0, len(data)) == len(data)
        return self.names.answer(self.frame, channel)

    def register(self, *topics, broker=BROKER, channel="channel", **more):
        """Register a broker that has these topics, and take that for granted."""
        answer = self.ask(103, broker, registering(*(topics or ("T", "U")), **more), channel=channel)
        assert answer.code == 0, answer
        return answer

    def route(self, name="T", **fields):
        """The route of a topic, or None."""
        answer = self.ask(105, {"topic": name, **fields})
        assert answer.code in (0, 17)
        return json.loads(answer.body) if answer.code == 0 else None

    def perms(self, name="T"):
        """broker name -> perm of the topic there."""
        return {each["brokerName"]: each["perm"] for each in (self.route(name) or {"queueDatas": []})["queueDatas"]}
