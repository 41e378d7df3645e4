"""RocketMQ's own mqadmin as one process for many commands: a virtual machine is started once."""

import subprocess
from pathlib import Path

from tests.clients.broker import until

PROGRAM = Path(__file__).with_name("Mqadmin.java")
END = "\x04\n"
SECONDS = 120  # for one command on a busy machine, the start of the virtual machine with it


class Mqadmin:
    """start() it; ask() as often as need be; stop(). `line`: what starts java, up to the program."""

    def __init__(self, folder, line):
        self._out = folder / "mqadmin.out"
        self._line = [*line, str(PROGRAM)]
        self._process = None
        self._read = 0

    def start(self):
        """It waits for commands."""
        with open(self._out, "wb") as out:
            self._process = subprocess.Popen(self._line, stdin=subprocess.PIPE, stdout=out, stderr=subprocess.STDOUT)
        return self

    def ask(self, *words):
        """What a command printed."""
        self._process.stdin.write(("\t".join(words) + "\n").encode())
        self._process.stdin.flush()

        def ended():
            assert self._process.poll() is None, self._out.read_text()
            text = self._out.read_bytes()[self._read :].decode(errors="replace")
            return text if text.endswith(END) else None

        text = until(ended, SECONDS, f"mqadmin {' '.join(words)}")
        self._read += len(text.encode())
        return text.removesuffix(END)

    def stop(self):
        """End it."""
        self._process.kill()
        self._process.wait(30)
