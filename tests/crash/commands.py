"""The commands of mqgateway, each in a fork of one process that has imported everything: a start of Python for each
takes longer than most of them. The fork may end at any of its steps to the disk, as a kill may end it anywhere."""

import io
import json
import os
import select
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import NamedTuple

ENDED_SECONDS = 60
DIED = 9  # exit code of a fork that ended at a step
STEPS = ("pwrite", "pwritev", "fsync", "fdatasync", "ftruncate", "mkdir", "rename", "rmdir", "unlink")  # of module os


class Done(NamedTuple):
    """How a command ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def text(self) -> str:
        """All that was printed."""
        return self.stdout + self.stderr


def run(*words: str, steps: int = -1) -> Done:
    """Run `mqgateway words...`; from steps = 0 on, its process ends at that one of its steps to the disk."""
    return _forks().run(words, steps)


def dies(steps: int, *words: str) -> bool:
    """Run a command that ends at that step; False: it had no more than those, and did its work."""
    done = run(*words, steps=steps)
    assert done.code in (0, DIED), done.text
    return done.code == DIED


@cache
def _forks() -> "Forks":
    return Forks()


class Forks:
    """The process that forks; it ends with its input, so with us."""

    def __init__(self):
        line = [sys.executable, "-m", __name__]
        root = Path(__file__).parents[2]
        self._process = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=root, bufsize=0)

    def run(self, words, steps: int) -> Done:
        """See run()."""
        with tempfile.TemporaryDirectory() as folder:
            self._process.stdin.write(json.dumps([[*map(str, words)], steps, folder]).encode() + b"\n")
            assert select.select([self._process.stdout], [], [], ENDED_SECONDS)[0], f"{words}: still at work"
            code = int(self._process.stdout.readline())
            return Done(code, *(Path(folder, name).read_text() for name in ("stdout", "stderr")))


def _serve() -> None:
    """For each line of stdin: the exit code of a fork that ran the command in it."""
    from gateway.cli import storage  # noqa: F401  (every fork needs it)
    from gateway.main import main

    for line in sys.stdin.buffer:
        words, steps, folder = json.loads(line)
        pid = os.fork()
        if not pid:
            for number, name in ((1, "stdout"), (2, "stderr")):
                os.dup2(os.open(os.path.join(folder, name), os.O_WRONLY | os.O_CREAT), number)
            if steps >= 0:
                _end_at(steps)
            try:
                main(words, prog_name="mqgateway")
            except SystemExit as ended:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(ended.code)  # what Python does at its end takes longer than the command
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


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


if __name__ == "__main__":
    _serve()
