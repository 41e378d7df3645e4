"""Jobs, each in a fork of one process that has imported what they need: a start of Python takes longer than most."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]


class Done(NamedTuple):
    """How a job ended: an exit code, or - the signal's number."""

    code: int
    stdout: str
    stderr: str

    @property
    def text(self) -> str:
        """All that was printed."""
        return self.stdout + self.stderr


class Forks:
    """job: `module:function`, which gets the list of words, and returns or exits with a code; modules: imported before,
    too. The process ends with its input, so with us."""

    def __init__(self, job: str, *modules: str, **environment: str):
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.forks", job, *modules],
            cwd=ROOT, env=os.environ | environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0,
        )  # fmt: skip

    def run(self, *words: object, seconds: int = 60) -> Done:
        """Do the job; it ends by SIGALRM when it takes longer."""
        with tempfile.TemporaryDirectory() as folder:
            self._process.stdin.write(json.dumps([[*map(str, words)], seconds, folder]).encode() + b"\n")
            code = int(self._process.stdout.readline())
            return Done(code, *(Path(folder, name).read_text() for name in ("stdout", "stderr")))


def _do(job: Callable[[list[str]], int | None], words: list[str]) -> None:
    try:
        code = job(words)
    except SystemExit as ended:
        code = ended.code
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code or 0)  # what Python does at its end takes longer than the job


def _serve(name: str, *modules: str) -> None:
    """For each line of stdin: the exit code of a fork that did the job."""
    module, _, function = name.partition(":")
    job = getattr(import_module(module), function)
    for each in modules:
        import_module(each)
    for line in sys.stdin.buffer:
        words, seconds, folder = json.loads(line)
        pid = os.fork()
        if not pid:
            for number, stream in ((1, "stdout"), (2, "stderr")):
                os.dup2(os.open(os.path.join(folder, stream), os.O_WRONLY | os.O_CREAT), number)
            signal.alarm(seconds)
            _do(job, words)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


if __name__ == "__main__":
    _serve(*sys.argv[1:])
