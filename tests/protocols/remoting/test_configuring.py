"""The broker's configuration by request: lines of keys and values, and changes of it."""

import json

import pytest

from core.errors import NotAllowed, PreconditionFailed
from protocols.remoting.configuring import Configuration, Configuring
from tests.protocols.remoting.world import World


@pytest.fixture
def world():
    made = World()
    made.changes = []
    made.shown = {"b": True, "a": 1, "c": "x y"}
    configuration = Configuration(lambda: made.shown, made.changes.append)
    made.remoting.configuring = Configuring(made.clock, configuration)
    return made


def version(world):
    return world.client().ask(26)[0]["extFields"]["version"]


def test_it_is_shown_as_lines(world):
    header, body = world.client().ask(26)
    assert header["code"] == 0 and body == b"a=1\nb=true\nc=x y\n"
    assert json.loads(version(world)) == {"counter": 0, "stateVersion": 0, "timestamp": world.clock.ms}


def test_a_change_is_carried_out_and_counted(world):
    assert world.client().ask(25, body=b"a=2\n")[0]["code"] == 0
    assert world.changes == ["a=2\n"]
    assert version(world).startswith('{"counter":1,')


@pytest.mark.parametrize(("kind", "code"), [(NotAllowed, 16), (PreconditionFailed, 29)])
def test_a_refusal_says_why_and_changes_nothing(world, kind, code):
    def refuse(text):
        raise kind("because")

    world.remoting.configuring = Configuring(world.clock, Configuration(dict, refuse))
    header, _ = world.client().ask(25, body=b"a=2\n")
    assert (header["code"], header["remark"]) == (code, "because")
    assert version(world).startswith('{"counter":0,')


def test_a_body_of_absurd_size_is_refused(world):
    header, _ = world.client().ask(25, body=b"x" * 70000)
    assert header["code"] == 1 and "exceeds 65536" in header["remark"] and world.changes == []
