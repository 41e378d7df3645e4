"""The commands of mqgateway in forks of one process. A fork may end at any of its steps to the disk, as a kill may end
it anywhere."""

import io
import os
from functools import cache

from tests.forks import Done, Forks

DIED = 9  # exit code of a fork that ended at a step
STEPS = ("pwrite", "pwritev", "fsync", "fdatasync", "ftruncate", "mkdir", "rename", "rmdir", "unlink")  # of module os


def run(*words: object, steps: int = -1) -> Done:
    """Run `mqgateway words...`; from steps = 0 on, its process ends at that one of its steps to the disk."""
    return _forks().run(steps, *words)


def dies(steps: int, *words: object) -> bool:
    """Run a command that ends at that step; False: it had no more than those, and did its work."""
    done = run(*words, steps=steps)
    assert done.code in (0, DIED), done.text
    return done.code == DIED


@cache
def _forks() -> Forks:
    return Forks("tests.crash.commands:work", "gateway.cli.storage")


def work(words: list[str]) -> None:
    """In the fork: the step to end at, and the command."""
    from gateway.main import main

    if int(words[0]) >= 0:
        _end_at(int(words[0]))
    main(words[1:], prog_name="mqgateway")


def _end_at(steps: int) -> None:
    """Have this process end when it has made so many steps."""
    from gateway.cli import dump

    left = steps

    def step() -> None:
        nonlocal left
        left -= 1
        if left < 0:
            os._exit(DIED)

    def mortal(name: str) -> None:
        original = getattr(os, name)

        def call(*arguments, **more):
            step()
            return original(*arguments, **more)

        setattr(os, name, call)

    class File(io.FileIO):
        """A dump's file."""

        def write(self, data):
            step()
            return super().write(data)

    for name in STEPS:
        mortal(name)
    dump.FileIO = File
