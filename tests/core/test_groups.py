"""Consumer groups: configuration and offsets are facts; offsets are gathered, and what is gone stays gone."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.config import Limits
from core.errors import LimitReached, PreconditionFailed
from core.groups import NO_OFFSET
from core.queue import ranges
from core.state.records import GroupFact, QueueDone, RequestMode, TopicConfig
from tests.core.state.test_dump import booted, dumped, restored
from tests.core.state.test_retention import fill
from tests.core.state.world import SEGMENT_BYTES, World, appended

G, T = b"g", b"t"


def offsets(world, group=G):
    return world.broker.groups.offsets_of(group)


@pytest.fixture
def world():
    return World().boot()


def test_an_offset_counts_at_once_and_lower_ones_are_taken(world):
    groups = world.broker.groups
    assert groups.offset(G, T, 0) == NO_OFFSET
    for offset in (7, 3):
        groups.commit(G, T, 0, offset)
        assert groups.offset(G, T, 0) == offset
    world.run()
    assert groups.offset(G, T, 0) == 3 and groups.offset(G, T, 1) == groups.offset(G, b"u", 0) == NO_OFFSET


def test_what_moved_in_a_moment_is_one_record_and_what_did_not_move_none(world):
    world.run()
    before, timers = appended(world), len(world.broker.schedule)
    for offset in range(50):
        for queue in range(4):
            world.broker.groups.commit(G, T, queue, offset)
            world.broker.groups.commit(b"other", T, queue, offset)
    assert len(world.broker.schedule) == timers + 1
    world.run()
    assert appended(world) == before + 1
    world.broker.groups.commit(G, T, 0, 49)
    world.run()
    assert appended(world) == before + 1


def test_many_offsets_are_several_records_that_each_fit_the_log(world):
    for topic in range(300):
        for queue in range(20):
            world.broker.groups.commit(G, b"t%d" % topic, queue, 1 << 40)
    for queue in range(3000):
        world.broker.groups.commit(b"h", T, queue, queue)
    world.run()
    world.crash(state_lost=True)
    world.boot()
    assert offsets(world) == {f"t{topic}": dict.fromkeys(range(20), 1 << 40) for topic in range(300)}
    assert offsets(world, b"h") == {"t": {queue: queue for queue in range(3000)}}
    world.broker.groups.delete(G, clean_offsets=True)
    world.run()
    assert offsets(world) == {}


@pytest.mark.parametrize("state_lost", [False, True])
def test_a_crash_keeps_what_was_in_the_log_and_a_stop_keeps_all(world, state_lost):
    world.broker.groups.put(GroupFact(name="g", retry_max_times=3, attributes={"a": "b"}, more=b"{}"))
    world.broker.groups.commit(G, T, 0, 5)
    world.run()
    version = world.broker.groups.version
    world.checkpoint()
    world.broker.groups.commit(G, T, 1, 6)
    world.run()
    world.crash(state_lost)
    world.boot()
    assert offsets(world) == {"t": {0: 5, 1: 6}}
    assert world.broker.groups.config(G) == GroupFact(name="g", retry_max_times=3, attributes={"a": "b"}, more=b"{}")
    assert world.broker.groups.version == version and version.counter == 1
    world.broker.groups.commit(G, T, 1, 9)
    world.stop(state_lost)
    world.boot(clean=True)
    assert offsets(world) == {"t": {0: 5, 1: 9}}


def test_the_version_tells_of_every_change_and_of_nothing_else(world):
    groups, seen = world.broker.groups, []
    for change in (
        lambda: groups.put(GroupFact(name="g")),
        lambda: groups.put(GroupFact(name="g")),
        lambda: groups.put(GroupFact(name="g", retry_max_times=1)),
        lambda: groups.commit(G, T, 0, 1),
        lambda: groups.delete(G, clean_offsets=False),
        lambda: groups.delete(G, clean_offsets=True),
    ):
        change()
        world.run()
        seen.append(groups.version.counter)
    assert seen == [1, 1, 2, 2, 3, 3]


def test_a_group_that_is_deleted_keeps_its_offsets_unless_they_are_cleaned(world):
    groups = world.broker.groups
    for name, clean in ((b"g", False), (b"h", True)):
        assert groups.use(name).name == name.decode()
        groups.commit(name, T, 0, 5)
        world.run()
        groups.commit(name, b"u", 0, 6)
        assert groups.delete(name, clean_offsets=clean) and not groups.delete(name, clean_offsets=clean)
    world.run()
    world.crash()
    world.boot()
    assert offsets(world) == {"t": {0: 5}, "u": {0: 6}} and offsets(world, b"h") == {}
    assert world.broker.groups.all() == []


def test_a_topic_that_goes_takes_the_offsets_in_it_along(world):
    groups = world.broker.groups
    for group in (b"g", b"h"):
        for topic in (b"t", b"u"):
            groups.commit(group, topic, 0, 5)
    world.run()
    groups.commit(b"new", T, 0, 5)
    assert sorted(groups.groups_of(T)) == ["g", "h", "new"]
    groups.topic_deleted(T)
    world.run()
    world.crash()
    world.boot()
    assert offsets(world) == {"u": {0: 5}} == offsets(world, b"h") and world.broker.groups.groups_of(T) == []


def test_a_group_is_made_by_its_use_if_that_may_be():
    world = World()
    world.config = world.config.__class__(log=world.config.log, limits=Limits(message_bytes=4096, groups=2))
    groups = world.boot().broker.groups
    assert groups.use(b"a") is groups.config(b"a")
    groups.auto_create = False
    assert groups.use(b"b") is None and groups.use(b"b", system=True) is not None
    with pytest.raises(LimitReached, match=r"limits\.groups \(2\)"):
        groups.use(b"c", system=True)
    groups.put(GroupFact(name="b", retry_queue_nums=2))


def test_what_cannot_be_is_refused(world):
    with pytest.raises(PreconditionFailed):
        world.broker.groups.commit(G, T, 0, -1)
    with pytest.raises(PreconditionFailed):
        world.broker.groups.put(GroupFact(name="g", more=bytes(1 << 16)))


def test_segments_go_and_offsets_are_stated_anew_with_what_later_records_said_of_them():
    world = World().boot()
    world.declare("q")
    groups = world.broker.groups
    groups.use(G)
    for queue in range(8):
        groups.commit(G, T, queue, queue)
    world.run()
    for round_ in range(5):
        fill(world, "q", 1)
        groups.commit(G, T, 3, 100 + round_)
        groups.commit(G, T, 20 + round_, 1)
        world.run()
    world.checkpoint()
    world.run(5)
    groups.commit(G, T, 3, 999)
    world.run()
    assert world.broker.retention.first >= 4 * SEGMENT_BYTES
    expected = {queue: queue for queue in range(8)} | {3: 999} | {20 + n: 1 for n in range(5)}
    world.crash(state_lost=True)
    world.boot()
    assert offsets(world) == {"t": expected} and world.broker.groups.config(G) is not None


def test_what_is_done_beyond_an_offset_is_stated_anew_with_what_later_records_said_of_it():
    world = World().boot()
    world.declare("q")
    groups = world.broker.groups
    groups.settle([QueueDone("g", "t", queue, 1, [5, 7]) for queue in range(8)])
    world.run()
    for round_ in range(5):
        fill(world, "q", 1)
        groups.settle([QueueDone("g", "t", 3, 2, [20 + 2 * round_, 21 + 2 * round_]), QueueDone("g", "t", 4, 9, [])])
        world.run()
    world.checkpoint()
    world.run(5)
    groups.settle([QueueDone("g", "t", 3, 6, [])])
    groups.commit(G, T, 5, 0)  # once more from its begin
    world.run()
    assert world.broker.retention.first >= 4 * SEGMENT_BYTES
    world.crash(state_lost=True)
    world.boot()
    expected = {queue: [5, 7] for queue in range(8)} | {4: [], 5: []}
    expected[3] = [6, 7, *(20 + number for number in range(10))]
    assert {queue: world.broker.groups.done_ahead(G, T, queue) for queue in range(8)} == expected


def test_what_is_settled_counts_above_what_was_committed_just_before(world):
    groups = world.broker.groups
    groups.commit(G, T, 0, 5)
    groups.settle([QueueDone("g", "t", 0, 7, [9, 10])])
    assert groups.offset(G, T, 0) == 7
    world.run()
    assert groups.offset(G, T, 0) == 7 and groups.done_ahead(G, T, 0) == [9, 10]


@pytest.mark.parametrize("end", ["topic", "group"])
def test_with_offsets_goes_what_is_done_beyond_them(world, end):
    groups = world.broker.groups
    groups.settle([QueueDone("g", "t", 0, 7, [9, 10]), QueueDone("h", "u", 0, 7, [9, 10])])
    if end == "topic":
        groups.topic_deleted(T)
    else:
        groups.delete(G, clean_offsets=True)
    groups.commit(G, T, 0, 0)
    world.run()
    for _ in range(2):
        groups = world.broker.groups
        assert groups.done_ahead(G, T, 0) == [] and groups.done_ahead(b"h", b"u", 0) == [9, 10]
        world.crash(state_lost=True)
        world.boot()


def test_what_is_said_of_many_queues_fits_the_log(world):
    groups = world.broker.groups
    wide = [number for pair in range(5000) for number in (4 * pair + 10, 4 * pair + 12)]
    groups.settle([QueueDone("g", "t", 0, 3, wide), *(QueueDone("g", "u", queue, 1, [2, 3]) for queue in range(3000))])
    world.run()
    world.crash(state_lost=True)
    world.boot()
    assert world.broker.groups.done_ahead(G, T, 0) == wide and world.broker.groups.offset(G, T, 0) == 3
    assert all(world.broker.groups.done_ahead(G, b"u", queue) == [2, 3] for queue in range(3000))


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("commit"), *map(st.sampled_from, ("gh", "tu", range(4), range(10)))),
        st.tuples(st.just("settle"), *map(st.sampled_from, ("gh", "tu", range(2), range(6), range(12)))),
        st.tuples(st.sampled_from(["delete", "clean"]), st.sampled_from("gh")),
        st.tuples(st.just("use"), st.sampled_from("gh")),
        st.tuples(st.just("topic"), st.sampled_from("tu")),
        st.tuples(st.sampled_from(["run", "checkpoint", "crash", "lost"])),
    ),
    max_size=30,
)


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_whatever_happens_offsets_and_groups_are_what_a_plain_dictionary_says(steps):
    world, model, names, ahead = World().boot(), {}, set(), {}
    for step, *what in steps:
        groups = world.broker.groups
        if step == "commit":
            group, topic, queue, offset = what
            groups.commit(group.encode(), topic.encode(), queue, offset)
            if offset < model.get((group, topic, queue), 0):
                ahead.pop((group, topic, queue), None)
            model[group, topic, queue] = offset
        elif step == "settle":
            group, topic, queue, floor, done = what
            floor = max(floor, model.get((group, topic, queue), 0))
            groups.settle([QueueDone(group, topic, queue, floor, [done, done + 2])])
            model[group, topic, queue] = floor
            ahead.setdefault((group, topic, queue), set()).update((done, done + 1))
        elif step == "use":
            groups.use(what[0].encode())
            names.add(what[0])
        elif step in ("delete", "clean"):
            groups.delete(what[0].encode(), clean_offsets=step == "clean")
            names.discard(what[0])
            if step == "clean":
                model = {key: offset for key, offset in model.items() if key[0] != what[0]}
        elif step == "topic":
            groups.topic_deleted(what[0].encode())
            model = {key: offset for key, offset in model.items() if key[1] != what[0]}
        else:
            world.run()
            if step == "checkpoint":
                world.checkpoint()
            elif step != "run":
                world.crash(state_lost=step == "lost")
                world.boot()
        groups = world.broker.groups
        found = {
            (group, topic, queue): offset
            for group in "gh"
            for topic, rows in groups.offsets_of(group.encode()).items()
            for queue, offset in rows.items()
        }
        for key in [key for key in ahead if key not in model]:
            del ahead[key]
        for key, offset in model.items():
            group, topic, queue = key
            flat = groups.done_ahead(group.encode(), topic.encode(), queue)
            done = {each for first, end in ranges.pairs(flat) for each in range(first, end)}
            said = {each for each in ahead.get(key, ()) if each >= offset}
            assert {each for each in done if each >= offset} == said
            if key in ahead:
                ahead[key] = {each for each in ahead[key] if each >= offset}
        assert found == model and {fact.name for fact in groups.all()} == names
        for (group, topic, queue), offset in model.items():
            assert groups.offset(group.encode(), topic.encode(), queue) == offset


def test_a_dump_has_groups_and_offsets(world):
    world.broker.groups.put(GroupFact(name="g", consume_enable=False, attributes={"a": "b"}, more=b'{"x":1}'))
    world.broker.groups.commit(G, T, 3, 1 << 40)
    world.broker.groups.commit(G, T, 0, 2)
    world.broker.groups.set_request_mode("g", "t", "POP", 2)
    world.stop()
    lines = dumped(world.disk)
    other = booted(restored(lines, world.random))
    assert offsets(other) == {"t": {0: 2, 3: 1 << 40}}
    assert other.broker.groups.config(G) == GroupFact(
        name="g", consume_enable=False, attributes={"a": "b"}, more=b'{"x":1}'
    )
    assert other.broker.groups.request_mode("g", "t") == RequestMode(group="g", topic="t", mode="POP", share=2)
    other.stop()
    assert dumped(other.disk)[1:-1] == lines[1:-1]


def test_a_dump_has_topics_that_never_held_a_message(world):
    config = TopicConfig(name=b"%RETRY%g", read_queues=1, write_queues=2, perm=7, order=True, attributes={"a": "b"})
    world.broker.topics.put(config)
    world.stop()
    lines = dumped(world.disk)
    other = booted(restored(lines, world.random))
    assert [topic.config for topic in other.broker.topics.all()] == [config]
    other.stop()
    assert dumped(other.disk)[1:-1] == lines[1:-1]
