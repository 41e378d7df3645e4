"""Messages and links of which a repair found only one sound."""

from core.log.mend import MendedLog, find
from core.log.record import STORE
from core.log.recovery import OFFSET_MAX, Walk
from core.state.compare import units
from core.state.records import QueueFact
from gateway.cli.states import load_state
from tests.core.state.test_dump import Full, dumped, files_of
from tests.simulation.store import SimStore


def rebuilt_from(world, log):
    """What a log alone gives, where it ends, and its counters."""
    ends = []

    def read_all(start, on_record, counters):
        walk = Walk(log, on_record, upto=OFFSET_MAX)
        ends.append((walk.run(log.first), tuple(walk.counters)))

    return load_state(SimStore(world.disk), read_all), *ends[0]


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
    rebuilt.applier.drop_baseless()
    waiting = [unit for fact in rebuilt.applier.model.facts.of(QueueFact) for unit in units(rebuilt, fact.id)]
    assert len(waiting) == 300 and {unit.log_offset for unit in waiting} == {stored[1]}
    (line,) = [line for line in dumped(world.disk) if b'"line":"message"' in line]
    assert line.count(b'"queue":') == 300
