"""The memory limit: what was configured, else a share of the lesser of machine and cgroup."""

import mmap
import os

import pytest

from gateway import memory

MACHINE = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@pytest.mark.parametrize(
    ("text", "total"), [("104857600\n", 104857600), ("max\n", MACHINE), (f"{MACHINE * 2}", MACHINE), (None, MACHINE)]
)
def test_a_cgroup_that_gives_less_counts(tmp_path, monkeypatch, text, total):
    file = tmp_path / "memory.max"
    if text is not None:
        file.write_text(text)
    monkeypatch.setattr(memory, "_CGROUP_LIMITS", (str(tmp_path / "none"), str(file)))
    assert memory.memory_limit(0) == int(total * 0.6)
    assert memory.memory_limit(12345) == 12345


def test_what_is_used_is_anonymous_memory_and_grows_with_it():
    before = memory.memory_used()
    with mmap.mmap(-1, 32 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as held:  # not what the heap has spare
        held.write(os.urandom(1 << 20) * 32)
        assert memory.memory_used() - before > 20 << 20
