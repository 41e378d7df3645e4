"""Messages are found by key and by id, wherever their keys are known: in blocks, in memory, or not yet."""

from array import array
from random import Random

import pytest

from core.disk.key_files import KeyFiles
from core.log import key_blocks, key_search
from core.log.keys import key_hash
from core.message import Message
from core.queries import id_of
from protocols.amqp.properties import encode_properties
from tests.core.state.world import SEGMENT_BYTES, World

BLOCK_BYTES = 16 << 10
PIECE_BYTES = 4 << 10


@pytest.fixture
def world(tmp_path, monkeypatch):
    monkeypatch.setattr(key_blocks, "BLOCK_BYTES", BLOCK_BYTES)
    for module in (key_blocks, key_search):
        monkeypatch.setattr(module, "PIECE_BYTES", PIECE_BYTES)
    made = World(checkpoint_seconds=86400)
    made.keys = KeyFiles(tmp_path / "keys")
    made.boot()
    made.declare("q")
    return made


def publish(world, key, body=b"", words="", name="q"):
    world.broker.clock.tick()
    properties = {"message_id": key, "headers": {"x-keys": words}} if words else {"message_id": key}
    message = Message((b"/", b"", name.encode()), encode_properties(properties), body, len(body), True)
    router = world.vhost.router
    world.broker.publisher.publish(message, router.route(router.exchanges[""], name.encode(), None))
    return message


def fill(world, first, end, pad=600):
    for number in range(first, end):
        publish(world, f"key-{number}", b"%d" % number + bytes(pad))
        if number % 5 == 0:
            world.run(0.001)  # a turn
    world.run(0.5)


def ask(world, key, **options):
    answers = []
    world.broker.queries.by_key(b"/", key, answers.append, **options)
    world.run(0.5)
    (answer,) = answers
    return answer


def bodies(found):
    return [each.message.body.rstrip(b"\0") for each in found]


def files(world):
    return [block.begin for block in world.keys.open()]


def test_every_message_is_found_by_its_id_wherever_its_key_is_known(world):
    fill(world, 0, 700)
    world.run(3)
    blocks = world.broker.key_blocks
    assert len(blocks.blocks) > 20 and blocks.blocks[-1].end > world.broker.log.committed - 2 * BLOCK_BYTES
    for number in (0, 1, 25, 100, 350, 500, 650, 690, 695, 698, 699):
        assert bodies(ask(world, f"key-{number}")) == [b"%d" % number]
    assert ask(world, "key-700") == ask(world, "") == ask(world, "KEY-1") == []
    assert blocks.read_bytes == 0, "keys are noted as messages come"


def test_by_each_word_of_x_keys_too_the_newest_first_and_no_more_than_asked_for(world):
    for number in range(100):
        publish(world, f"id-{number}", b"%d" % number, f"order-{number % 10} all")
    world.run()
    assert bodies(ask(world, "order-3")) == [b"%d" % number for number in range(93, 0, -10)]
    assert bodies(ask(world, "all", most=5)) == [b"99", b"98", b"97", b"96", b"95"]
    assert len(ask(world, "all")) == 64
    assert ask(world, "order") == []


def test_of_another_virtual_host_nothing_is_found(world):
    publish(world, "k")
    world.run()
    answers = []
    world.broker.queries.by_key(b"other", "k", answers.append)
    world.run()
    assert answers == [[]] and len(ask(world, "k")) == 1


def test_a_message_that_has_not_that_key_is_not_found_though_its_hash_is_the_same(world):
    publish(world, "true", b"x")
    publish(world, "other", b"y")
    world.run()
    wrong = ask(world, "true")[0].message
    size = wrong.record_size
    both = (*ask(world, "other"), *ask(world, "true"))
    places = [key_search.Candidate(int(each.id, 16), each.message.record_size, False) for each in both]
    assert size and len(places) == 2
    world.broker.queries._ports = world.broker.queries._ports._replace(find=lambda key, done, span: done(places))
    assert bodies(ask(world, "true")) == [b"x"]


def test_consumed_messages_are_found_until_their_segment_goes(world):
    fill(world, 0, 700)
    taker = world.take("q", 700)
    for offset, *_ in taker.got:
        world.queue("q").acknowledge(offset)
    world.run()
    assert bodies(ask(world, "key-3")) == [b"3"]
    before = files(world)
    world.checkpoint()
    fill(world, 700, 720)
    first = world.broker.retention.first
    assert first >= SEGMENT_BYTES
    assert ask(world, "key-3") == [] and bodies(ask(world, "key-710")) == [b"710"]
    blocks = world.broker.key_blocks.blocks
    assert files(world) == [block.begin for block in blocks] != before and all(block.end > first for block in blocks)


@pytest.mark.parametrize("freed", [True, False])
def test_a_copy_of_a_message_is_not_a_second_one(world, monkeypatch, freed):
    fill(world, 0, 700)
    if not freed:
        monkeypatch.setattr(world.broker.retention, "free", lambda safe: [])
    taker = world.take("q", 700)
    for offset, *_ in taker.got:
        if offset not in (2, 400):
            world.queue("q").acknowledge(offset)
    for _ in range(4):
        world.checkpoint()
        world.run(2)
    assert world.broker.reappender.copied_records and (world.broker.retention.first > 0) == freed
    for number in (2, 400):
        assert bodies(ask(world, f"key-{number}")) == [b"%d" % number]


@pytest.mark.parametrize("end", ["stop", "crash"])
@pytest.mark.parametrize("lost", ["nothing", "some files", "all files", "state"])
def test_after_a_restart_all_is_found_and_what_is_missing_built_anew(world, tmp_path, end, lost):
    fill(world, 0, 500)
    before = files(world)
    world.checkpoint()
    world.crash(lost == "state") if end == "crash" else world.stop(lost == "state")
    names = sorted((tmp_path / "keys").iterdir())
    for number, path in enumerate(names):
        if lost == "all files" or lost == "some files" and number in (0, 5, 6, len(names) - 1):
            path.unlink()
    world.boot(clean=end == "stop")
    for number in (0, 120, 130, 499):
        assert bodies(ask(world, f"key-{number}")) == [b"%d" % number]
    fill(world, 500, 520)
    for number in (0, 60, 120, 130, 300, 499, 510, 519):
        assert bodies(ask(world, f"key-{number}")) == [b"%d" % number]
    now = files(world)
    assert now[: len(before)] == before or lost in ("some files", "all files")
    blocks = world.broker.key_blocks
    assert [block.begin for block in blocks.blocks] == now and now[0] == 0 and blocks.failed == 0
    assert blocks.blocks[-1].end > world.broker.log.committed - 2 * BLOCK_BYTES
    for one, other in zip(blocks.blocks, blocks.blocks[1:], strict=False):
        assert one.end == other.begin


def test_without_files_everything_is_looked_through(world):
    world.stop()
    world.keys = None
    world.boot(clean=True)
    fill(world, 0, 300)
    assert bodies(ask(world, "key-5")) == [b"5"]
    assert world.broker.key_blocks.blocks == [] and world.broker.key_blocks.read_bytes == 0


def test_what_cannot_be_written_is_looked_through(world, monkeypatch, caplog):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(world.keys, "write", full)
    fill(world, 0, 300)
    assert world.broker.key_blocks.blocks == [] and world.broker.key_blocks.failed > 5
    assert "a key block cannot be written" in caplog.text
    for number in (0, 150, 299):
        assert bodies(ask(world, f"key-{number}")) == [b"%d" % number]


def test_files_that_cannot_be_read_stop_nobody(world, tmp_path, caplog):
    fill(world, 0, 100)
    world.stop()
    world.keys = KeyFiles(tmp_path / "keys" / "file")
    (tmp_path / "keys" / "file").write_bytes(b"")
    world.boot(clean=True)
    assert "key blocks cannot be read, queries do without" in caplog.text
    assert bodies(ask(world, "key-5")) == [b"5"]


def test_records_larger_than_a_piece_are_in_blocks_like_others(world):
    for number in range(60):
        publish(world, f"big-{number}", b"%d" % number + bytes(4000))
        publish(world, f"small-{number}", b"%d" % number)
    world.run()
    assert world.broker.key_blocks.failed == 0
    for number in (0, 30, 59):
        assert bodies(ask(world, f"big-{number}")) == bodies(ask(world, f"small-{number}")) == [b"%d" % number]


def test_by_its_id_a_message_is_found_and_nothing_else(world):
    fill(world, 0, 50)
    (found,) = ask(world, "key-7")
    assert len(found.id) == 32 and found.id == id_of(found.message.offset)

    def by_id(text):
        answers = []
        world.broker.queries.by_id(text, answers.append)
        world.run(0.5)
        return answers[0]

    assert bodies(by_id(found.id)) == bodies(by_id(found.id.lower())) == [b"7"]
    offset = found.message.offset
    for wrong in (
        id_of(offset + 1),
        id_of(1 << 60),
        id_of(offset)[:-1],
        "x" * 32,
        "",
        id_of(world.broker.log.committed),
    ):
        assert by_id(wrong) == []


def test_a_damaged_message_is_not_found_and_others_of_its_key_are(world):
    publish(world, "k", b"first")
    publish(world, "k", b"second" * 10)
    publish(world, "k", b"third")
    world.run()
    log = world.disk._files["commitlog/" + "0" * 20].data
    log[log.find(b"second" * 10)] ^= 0xFF
    world.broker.tail.bytes_max = 0
    world.broker.tail.released(world.broker.log.committed)
    assert bodies(ask(world, "k")) == [b"third", b"first"]


def test_a_segment_that_cannot_be_looked_through_is_left_out_and_the_others_are_known(world, caplog):
    fill(world, 0, 20)
    world.run()
    log = world.disk._files["commitlog/" + "0" * 20].data
    place = log.find(b"7" + bytes(600))
    fill(world, 20, 60)
    log[place - 84] ^= 0xFF  # in the head of its record
    world.stop()
    for block in world.keys.open():
        world.keys.remove([block])
    world.boot(clean=True)
    fill(world, 60, 300)
    world.run(3)
    assert bodies(ask(world, "key-299")) == [b"299"] and world.broker.key_blocks.failed == 1
    assert "keys of a segment's rest are not known" in caplog.text


def test_candidates_are_bounded(world, monkeypatch):
    monkeypatch.setattr(key_search, "CANDIDATES_MAX", 20)
    for number in range(100):
        publish(world, "same", b"%d" % number)
    world.run()
    assert bodies(ask(world, "same")) == [b"%d" % number for number in range(99, 79, -1)]


@pytest.mark.parametrize("seed", range(5))
def test_whatever_happens_between_what_is_there_is_found(world, seed):
    random, published, name = Random(seed), {}, "q"
    for step in range(40):
        for _ in range(random.randrange(30)):
            key = f"k{random.randrange(200)}"
            message = publish(world, key, b"%d" % len(published) + bytes(random.choice((0, 900, 3500))))
            published[message.offset] = key, message.body.rstrip(b"\0")
        world.run(random.choice((0.001, 0.5)))
        if random.random() < 0.3:
            for offset, *_ in world.take(name, random.randrange(300)).got:
                world.queue(name).acknowledge(offset)
        if random.random() < 0.2:
            world.checkpoint()
        if random.random() < 0.1:
            world.run(0.1)
            world.stop(random.random() < 0.5)
            world.boot(clean=True)
        world.run(0.1)  # what is not committed is not found
        key = f"k{random.randrange(200)}"
        found = bodies(ask(world, key))
        first = world.broker.retention.first
        assert set(found) >= {body for at, (other, body) in published.items() if other == key and at >= first}, step
        assert set(found) <= {body for other, body in published.values() if other == key}
        assert len(found) == len(set(found))


def test_a_block_of_what_the_log_has_lost_goes(world, tmp_path):
    fill(world, 0, 100)
    world.stop()
    beyond = world.broker.log.committed + BLOCK_BYTES
    world.keys.write(files(world)[-1] + 1, beyond, array("Q", (key_hash(b"key-100"), 5)))
    world.boot(clean=True)
    assert all(block.end <= world.broker.log.committed for block in world.broker.key_blocks.blocks)
    fill(world, 100, 140)
    for number in (3, 99, 100, 101, 139):
        assert bodies(ask(world, f"key-{number}")) == [b"%d" % number]
