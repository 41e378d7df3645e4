"""The log's files as RocketMQ lays them out, read from outside: where records begin and end, and how to harm them."""

import struct
from pathlib import Path
from typing import NamedTuple

MAGICS = {0xDAA320A7, 0xDAA320AB}  # version 1 and 2 of a record
HEAD = struct.Struct(">II")  # size, magic


class Record(NamedTuple):
    """A record's place."""

    file: Path
    start: int  # within the file
    size: int

    @property
    def offset(self) -> int:
        """Its offset in the log."""
        return int(self.file.name) + self.start

    def read(self) -> bytes:
        """Its bytes."""
        with open(self.file, "rb") as file:
            file.seek(self.start)
            return file.read(self.size)

    def write(self, at: int, data: bytes) -> None:
        """Overwrite some of its bytes."""
        with open(self.file, "r+b") as file:
            file.seek(self.start + at)
            file.write(data)

    def damage(self, at: int, count: int = 2) -> None:
        """Flip a bit in each of so many of its bytes: whatever they are, they are others then."""
        self.write(at, bytes(each ^ 1 for each in self.read()[at : at + count]))

    def truncate(self, keep: int) -> None:
        """End the file within it."""
        with open(self.file, "r+b") as file:
            file.truncate(self.start + keep)


def records(data: Path) -> list[Record]:
    """Every record of the log in order."""
    found = []
    files = sorted(path for path in data.rglob("commitlog/*") if path.name.isdigit() and len(path.name) == 20)
    assert files, "no commitlog/<20 digits> in the data folder"
    for path in files:
        with open(path, "rb") as file:
            at = 0
            while len(head := file.read(HEAD.size)) == HEAD.size:
                size, magic = HEAD.unpack(head)
                if magic not in MAGICS:
                    break
                found.append(Record(path, at, size))
                at += size
                file.seek(at)
    return found
