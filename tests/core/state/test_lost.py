"""After damage anywhere: what state/ knows is said anew, so that the log alone gives all but the damaged messages."""

import copy

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.log.blocking import BlockingLog
from core.log.mend import MendedLog, find
from core.log.record import LINK, STORE
from core.log.recovery import OFFSET_MAX, Walk
from core.state.compare import differences, slot_of, units
from core.state.lost import Restated, lost_messages, restate
from core.state.records import QUEUE, QueueFact
from core.state.snapshot import read_stamp
from gateway.cli.states import load_kept, load_state
from tests.core.state.test_dump import FULL_STEPS, Full, dumped, files_of
from tests.core.state.world import SEGMENT_BYTES
from tests.simulation.store import SimStore


def rebuilt_from(world, log):
    """What a log alone gives, where it ends, and its counters."""
    ends = []

    def read_all(stamp, on_record):
        walk = Walk(log, on_record, upto=OFFSET_MAX)
        ends.append((walk.run(log.first), tuple(walk.counters)))

    return load_state(SimStore(world.disk), read_all), *ends[0]


def kept_of(world, log, tail, stretches=()):
    """What a copy of the store and the log from its stamp on give."""
    store = SimStore(world.disk)
    store.restore(world.store.copy())

    def start_of(stamp):
        return next((each.stop for each in stretches if each.start < stamp < each.stop), stamp)

    return load_kept(store, log, tail, start_of)


def picture(state):
    """Facts, and of each queue its next offset and what waits: offset -> (log offset, code, returns)."""
    state.applier.drop_baseless()
    facts = state.applier.model.facts
    kept = {
        key: {name: getattr(fact, name) for name in fact.__struct_fields__ if name not in ("first_offset", "next_id")}
        for key, fact in facts.all.items()
    }
    queues = {}
    for fact in facts.of(QueueFact):
        waiting = {unit.offset: (unit.log_offset, unit.code, unit.returns) for unit in units(state, fact.id)}
        slot = slot_of(state, fact.id)
        queues[fact.id] = max(slot.index.end, slot.cursor.floor), waiting
    return kept, queues, facts.next_id


def contents(world, queues):
    """Instead of its log offset, what a message is: its record may have been copied."""
    sound = {}

    def record(view):
        if view.kind == STORE:
            message = view.message()
            address = message.vhost, message.exchange, message.routing_key
            sound[view.offset] = bytes(message.body), message.header, address, message.store_ms

    files = files_of(world.disk)
    Walk(files, record).run(files.first)
    return {
        number: (end, {at: (sound.get(log_offset), *more) for at, (log_offset, *more) in waiting.items()})
        for number, (end, waiting) in queues.items()
    }


def sound_places(world, hit):
    """(queue id, queue offset) that any records say which are not hit: of a link, and of its message."""
    found = set()

    def record(view):
        if view.kind == STORE:
            places, needed = view.places(), {view.offset}
        elif view.kind == LINK:
            offset, _, places = view.link()
            needed = {offset, view.offset}
        else:
            return
        if not needed & hit:
            numbers = iter(places)
            found.update((queue_id, offset) for queue_id, offset, _ in zip(numbers, numbers, numbers, strict=True))

    files = files_of(world.disk)
    Walk(files, record).run(files.first)
    return found


def records_of(world):
    """(log offset, size) of every record."""
    found = []
    files = files_of(world.disk)
    Walk(files, lambda view: found.append((view.offset, view.size))).run(files.first)
    return found


def damage(world, numbers):
    """Change a byte of the records with these numbers; returns their log offsets."""
    files, places = files_of(world.disk), records_of(world)
    hit = {places[number] for number in numbers}
    for offset, size in hit:
        at = offset + (offset * 7919 + len(hit)) % size
        byte = files.read(at, 1)[0]
        files.write_and_sync([(at, [bytes([byte ^ 0x21])])], True)
    return {offset for offset, _ in hit}


def repaired(world):
    """As gateway/cli/repair.py does it. Returns what is said to be lost: queue id -> offsets."""
    files = files_of(world.disk)
    stretches = find(files, True, read_stamp(world.store).offset)
    log = MendedLog(files, stretches)
    rebuilt, tail, counters = rebuilt_from(world, log)
    kept = kept_of(world, log, tail, stretches).state
    kept.applier.drop_baseless()
    lost = list(lost_messages(kept, stretches, rebuilt))
    for filler in log.fillers:
        files.write_and_sync([(filler.offset, [filler.bytes()])], True)
    writer = BlockingLog(files, tail, counters)
    restate(writer, Restated(kept, rebuilt, lost, stretches, files.read), 5)
    writer.commit()
    return {each.queue.id: {at for start, end in each.ranges for at in range(start, end)} for each in lost}


def stop(world):
    """A clean stop, with a last checkpoint."""
    world.run()
    world.store.fail_in = None
    world.stop()


def check(world, numbers):
    """After stop(): damage, repair; compare with what was there. Returns how many messages survived by another record
    than their newest."""
    facts, queues, next_id = picture(rebuilt_from(world, files_of(world.disk))[0])
    before = contents(world, queues)
    tables, disk = world.store.copy(), copy.deepcopy(world.disk.durable_files())
    hit = damage(world, numbers)
    lost = repaired(world)
    files = files_of(world.disk)
    assert find(files, True, 0) == []
    again, tail, _ = rebuilt_from(world, files)
    assert list(differences(kept_of(world, files, tail).state, again)) == []
    found_facts, found_queues, found_next = picture(again)
    assert (found_facts, found_next) == (facts, next_id)
    found = contents(world, found_queues)
    assert found.keys() == before.keys()
    world.disk.take_from(disk)
    world.store.restore(tables)
    sound = sound_places(world, hit)
    spared = 0
    for number, (end, waiting) in before.items():
        assert found[number][0] == end
        gone = {at for at in waiting if at not in found[number][1]}
        assert {at: waiting[at] for at in waiting.keys() - gone} == found[number][1]
        assert lost.get(number, set()) == gone, "what is told is what is lost"
        for at in waiting:
            if queues[number][1][at][0] not in hit:
                assert at not in gone
            elif (number, at) not in sound:
                assert at in gone
            else:
                spared += at not in gone
    return spared


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(FULL_STEPS, max_size=25),
    st.integers(0, 1 << 30),
    st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=8),
)
def test_the_log_alone_gives_all_but_the_damaged_messages(steps, seed, shares):
    life = Full(seed)
    for step in steps:
        life.step(*step)
    stop(life.world)
    count = len(records_of(life.world))
    check(life.world, {int(share * count) for share in shares})


@pytest.mark.parametrize("share", [0.97, 0.98, 0.985, 0.99, 0.995, 0.99999])
def test_a_message_whose_link_is_damaged_is_still_in_all_its_queues(share):
    world = Full(1).world
    for number in range(300):
        world.declare(f"f{number}")
        world.bind(f"f{number}", "amq.direct", "all")
    for _ in range(12):
        world.publish("amq.direct", "all", b"x")
    stop(world)
    check(world, {int(share * len(records_of(world)))})


def eventful():
    """A life in which nearly every record matters: what is declared goes and comes again, what is settled lies between
    what is not, the last message is done, some came back."""
    life = Full(3)
    world = life.world
    world.declare("again")
    life.many(6, 2)
    for name in ("again", "ends", "hole"):
        world.declare(name)
        world.bind(name, "amq.topic", "t")
    for number in range(6):
        for name in ("again", "ends", "hole", "quorum"):
            world.publish("", name, b"%d" % number)
    world.run()
    world.topology.delete_queue(world.vhost, "again", None)
    world.declare("again")
    world.bind("again", "amq.topic", "new")
    world.topology.unbind(world.vhost, "amq.topic", (QUEUE, "hole"), "t", {})
    world.topology.delete_exchange(world.vhost, "once")
    world.topology.declare_exchange(world.vhost, "once", "fanout", durable=True)
    world.topology.remove_vhost("other")
    world.publish("", "again", b"new")
    world.publish("amq.topic", "t", b"last")
    world.run()
    for name, done in (("ends", {2, 5, 6}), ("hole", {1, 3}), ("quorum", {4})):
        for offset, _, _ in world.take(name, 99).got:
            if offset in done:
                world.queue(name).acknowledge(offset)
            elif name == "quorum":
                world.queue(name).give_back(offset)
            else:
                world.queue(name).requeue(offset)
        world.run()
    stop(world)
    return world


def test_any_one_record_or_two_neighbours_damaged():
    world = eventful()
    disk, tables = copy.deepcopy(world.disk.durable_files()), world.store.copy()
    total = len(records_of(world))
    assert total > 50
    for number in range(total):
        for numbers in ({number}, {number, min(number + 1, total - 1)}):
            world.disk.take_from(copy.deepcopy(disk))
            world.store.restore(tables)
            check(world, numbers)


def test_a_link_whose_message_is_damaged_is_of_nothing():
    world = Full(1).world
    for number in range(300):
        world.declare(f"f{number}")
        world.bind(f"f{number}", "amq.direct", "all")
    for body in (b"first", b"second"):
        world.publish("amq.direct", "all", body)
        world.run()
    world.crash()
    files = files_of(world.disk)
    stored = []
    Walk(files, lambda view: stored.append(view.offset) if view.kind == STORE else None).run(0)
    files.write_and_sync([(stored[0] + 100, [b"\xff\xfe"])], True)
    for filler in MendedLog(files, find(files, False, 0)).fillers:
        files.write_and_sync([(filler.offset, [filler.bytes()])], True)
    rebuilt, _, _ = rebuilt_from(world, files)
    waiting = [unit for _, each in picture(rebuilt)[1].values() for unit in each.values()]
    assert len(waiting) == 300 and {log_offset for log_offset, _, _ in waiting} == {stored[1]}
    (line,) = [line for line in dumped(world.disk) if b'"line":"message"' in line]
    assert line.count(b'"queue":') == 300


def with_copies():
    """Retention has copied what a slow queue, a quorum queue and 300 queues of one exchange still want; what was copied
    from is still there."""
    world = Full(5).world
    for name in ("slow", "busy"):
        world.declare(name)
    world.declare("counts", arguments={"x-queue-type": "quorum"})
    for number in range(300):
        world.declare(f"f{number}")
        world.bind(f"f{number}", "amq.direct", "all")
    for number in range(8):
        for name in ("slow", "counts"):
            world.publish("", name, b"%d" % number)
        world.run()
    world.publish("amq.direct", "all", b"to all of them")
    for name, done in (("slow", {1, 2, 5}), ("counts", {0, 6})):
        for offset, _, _ in world.take(name, 99).got:
            if offset in done:
                world.queue(name).acknowledge(offset)
            else:
                world.queue(name).give_back(offset)
    world.broker.retention.free = lambda safe_offset: []
    for _ in range(8):
        for _ in range(SEGMENT_BYTES // 3200 + 1):
            world.publish("", "busy", b"f" * 3000)
        world.run()
        for offset, _, _ in world.take("busy", 1000).got:
            world.queue("busy").acknowledge(offset)
        for _ in range(3):
            world.checkpoint()
            world.run(10)
    assert world.broker.reappender.copied_records >= 10
    stop(world)
    return world


def records_that_tell_of(world, names):
    """Numbers of the records of messages, and of their links, in these queues or, for a name that ends with *, in all
    whose names begin so: by what they tell, each with its copies."""
    facts = rebuilt_from(world, files_of(world.disk))[0].applier.model.facts.of(QueueFact)
    wanted = {fact.id for fact in facts if fact.name in names or f"{fact.name[:1]}*" in names}
    found, places = {}, []

    def record(view):
        if view.kind in (STORE, LINK):
            numbers = list(view.places() if view.kind == STORE else view.link()[2])
            told = tuple(sorted(set(zip(numbers[::3], numbers[1::3], strict=True))))
            if any(queue_id in wanted for queue_id, _ in told):
                found.setdefault(told[0], []).append(len(places))
        places.append(view.offset)

    files = files_of(world.disk)
    Walk(files, record).run(files.first)
    return list(found.values())


def test_what_was_copied_is_lost_only_with_all_its_records():
    world = with_copies()
    disk, tables = copy.deepcopy(world.disk.durable_files()), world.store.copy()
    groups = records_that_tell_of(world, ("slow", "counts", "f*"))
    assert sum(len(group) > 1 for group in groups) >= 10, "originals and copies"
    spared = 0
    for group in groups:
        for numbers in ({group[0]}, {group[-1]}, set(group)):
            world.disk.take_from(copy.deepcopy(disk))
            world.store.restore(tables)
            spared += check(world, numbers)
    assert spared > 100, "by an original whose copy is damaged"
