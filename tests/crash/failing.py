"""The broker on a disk that fails when a test says so: `failing.py CONTROL GATEWAY-ARGUMENTS...`.

CONTROL is a file that the test writes: JSON, operation of FileOps -> name of an errno, or "hold": it waits for as long
as the file says so. All batches go the way through FileOps.
"""

import errno
import json
import os
import sys
import time
from pathlib import Path

import core.disk.files
from core.disk.ops import FileOps
from tests.clients.broker import Broker

HELD_SECONDS = 0.01  # between two looks


class FailingOps(FileOps):
    """FileOps, but first does what CONTROL says."""

    control = Path()

    def _obey(self, operation):
        while self.control.exists():
            order = json.loads(self.control.read_text() or "{}").get(operation)
            if order is None:
                return
            if order != "hold":
                number = getattr(errno, order)
                raise OSError(number, os.strerror(number))
            time.sleep(HELD_SECONDS)

    def open(self, path):
        self._obey("open")
        return super().open(path)

    def write(self, fd, buffers, at):
        self._obey("write")
        return super().write(fd, buffers, at)

    def write_zeros(self, fd, at, size):
        self._obey("write_zeros")
        return super().write_zeros(fd, at, size)

    def sync(self, fd):
        self._obey("sync")
        super().sync(fd)

    def remove(self, path):
        self._obey("remove")
        super().remove(path)


class FailingBroker(Broker):
    """orders(operation=...) gives orders, orders() takes them back."""

    @property
    def control(self):
        return self.folder / "orders.json"

    def command(self, ready):
        _, *arguments = super().command(ready)
        return [sys.executable, "-m", "tests.crash.failing", str(self.control), *arguments]

    def spawn(self):
        self.control.unlink(missing_ok=True)
        os.environ["PYTHONPATH"] = str(Path(__file__).parents[2])  # its folder is another one
        try:
            return super().spawn()
        finally:
            del os.environ["PYTHONPATH"]

    def orders(self, **orders):
        whole = self.control.with_suffix(".new")
        whole.write_text(json.dumps(orders))
        whole.rename(self.control)


if __name__ == "__main__":
    FailingOps.control = Path(sys.argv.pop(1))
    core.disk.files.FileOps = FailingOps
    from gateway import main, service

    service.available = lambda: False
    main.main()
