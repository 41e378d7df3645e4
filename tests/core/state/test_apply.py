"""Records in the order in which retention may leave them: what belongs to a fact can come before it."""

from array import array
from functools import partial

import pytest

from core.clock import Clock
from core.errors import StoreRefused
from core.log.tail import Tail
from core.state.apply import Applier
from core.state.arguments import table_of
from core.state.model import Model
from core.state.records import (
    EXCHANGE,
    QUEUE,
    BindingFact,
    ExchangeFact,
    ExchangesDeleted,
    IdsFact,
    QueueFact,
    QueuesDeleted,
    VhostFact,
    VhostRemoved,
    decode,
    encode,
)
from core.state.replay import LoggedQueue, Replay
from core.turn import Turn
from protocols.amqp import tables


class Replayed:
    """An Applier that replays what it is given."""

    def __init__(self):
        self.model = Model()
        self.offset = 0
        decode = partial(table_of, tables)
        self.applier = Applier(self.model, self.make_queue, decode, lambda *_: None, None)
        new_id = self.model.facts.new_local_id
        self.replay = Replay(self.applier.state, lambda queue_id, number: None, lambda slots: None, new_id)
        self.applier.begin_replay(self.replay)

    def make_queue(self, fact, arguments, slot):
        queue = LoggedQueue((fact.id, fact.vhost.encode(), fact.name), True, Turn(Clock(), None), Tail(1 << 20))
        if slot is not None:
            queue.adopt(slot)
        return queue

    def __call__(self, *records):
        for record in records:
            self.offset += 100
            self.applier.state(encode(record), self.offset)
        return self

    def finish(self):
        self.applier.finish_replay()
        return self.model

    def units(self, queue_id, *offsets):
        for offset in offsets:
            self.offset += 100
            self.replay.place(self.offset, 90, 1, array("q", (queue_id, offset, 0)))


VHOST = VhostFact(name="/")
X = ExchangeFact(vhost="/", name="x", kind="direct")


def queue(number, name="q", first=0):
    return QueueFact(id=number, vhost="/", name=name, first_offset=first)


def binding(source="x", name="q"):
    return BindingFact(vhost="/", source=source, kind=QUEUE, destination=name, key=b"k")


def bound(model):
    return [
        (b.source.name, b.destination.name) for x in model.vhosts["/"].router.exchanges.values() for b in x.bindings()
    ]


def test_bindings_and_units_wait_for_the_facts_they_belong_to():
    replayed = Replayed()(binding())
    replayed.units(5, 7, 8, 9)
    replayed.replay.done(bytes((5, 1, 7, 1)))
    model = replayed(queue(5, first=7), X, VHOST).finish()
    found = model.vhosts["/"].queues["q"]
    assert bound(model) == [("x", "q")]
    assert (found.index.begin, found.index.end, found.cursor.floor, found.ready) == (8, 10, 8, 2)


def test_what_no_fact_came_for_is_dropped():
    replayed = Replayed()(VHOST, binding(), ExchangeFact(vhost="gone", name="y", kind="direct"))
    replayed.units(5, 0)
    model = replayed.finish()
    assert bound(model) == [] and model.queues == {} and replayed.replay.gone() == {5}
    assert [type(fact) for fact in model.facts.all.values()] == [VhostFact]


def test_a_deletion_takes_bindings_along_although_the_fact_was_in_a_segment_that_is_gone():
    model = Replayed()(VHOST, X, binding(), QueuesDeleted(vhost="/", queues=[(5, "q")]), queue(9)).finish()
    assert bound(model) == [] and model.facts.next_id == 10
    model = Replayed()(VHOST, queue(5), binding(), ExchangesDeleted(vhost="/", names=["x"]), X).finish()
    assert bound(model) == []
    model = Replayed()(binding(), VhostRemoved(name="/"), VHOST, X, queue(5)).finish()
    assert bound(model) == []


def test_units_of_a_deleted_queue_do_not_come_back():
    replayed = Replayed()(VHOST, queue(5), QueuesDeleted(vhost="/", queues=[(5, "q")]))
    replayed.units(5, 0, 1)
    assert replayed.replay.slots == {} and replayed.finish().queues == {}


def test_units_that_are_nowhere_are_done():
    replayed = Replayed()(VHOST, queue(5))
    replayed.units(5, 3, 4, 2000)
    found = replayed.finish().vhosts["/"].queues["q"]
    assert (found.cursor.floor, found.ready, found.index.end) == (3, 3, 2001)


def test_removing_a_virtual_host_leaves_no_fact_of_it():
    model = Replayed()(VHOST, X, queue(5), binding(), VhostRemoved(name="/"), IdsFact(next_id=7)).finish()
    assert model.vhosts == {} and list(model.facts.all) == [("ids",)] and model.facts.next_id == 7


def test_bodies_are_readable_for_ever():
    """Bytes of version 1, kept: a change that cannot read them breaks every log there is."""
    body = bytes.fromhex("84a474797065ae71756575655f6465636c61726564a2696405a576686f7374a12fa46e616d65a171")
    assert decode(body, 0) == queue(5) and encode(queue(5)) == body
    assert decode(encode(binding()), 0) == binding()
    assert (
        decode(encode(BindingFact(vhost="/", source="x", kind=EXCHANGE, destination="y", key=b"\xff")), 0).key
        == b"\xff"
    )


def test_what_a_newer_version_wrote_is_refused_by_offset():
    newer = queue(5)
    newer.v = 2
    for body in (encode(newer), b"\x81\xa4type\xa6unseen", b"\xc1"):
        with pytest.raises(StoreRefused, match="log offset 77"):
            decode(body, 77)
