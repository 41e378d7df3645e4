"""ARCHITECTURE.md's tables name every source file, each in full, and no file that is not there."""

import re

import pytest

from tests.architecture.tree import PACKAGES, ROOT, sources

MAP = ROOT / "ARCHITECTURE.md"
FILE_NAME = re.compile(rf"`((?:{'|'.join(PACKAGES)})/[\w/]+\.py)`")


@pytest.mark.skipif(not MAP.exists(), reason="no ARCHITECTURE.md yet")
def test_the_map_lists_every_source_file_and_nothing_else():
    rows = [line for line in MAP.read_text().splitlines() if line.startswith("|")]
    listed = [name for row in rows for name in FILE_NAME.findall(row.split("|")[1])]
    there = {path.as_posix() for path in sources() if path.name != "__init__.py"}
    assert sorted(there - set(listed)) == []
    assert sorted(set(listed) - there) == []
    assert len(listed) == len(set(listed))
