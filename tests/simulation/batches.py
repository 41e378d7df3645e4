"""The short way of batches over the simulated disk: the real images of whole pages, carried by a simulated thread."""

from __future__ import annotations

from functools import partial
from typing import Any

from core.disk.page_image import SHORT, PageImage
from tests.simulation.disk import SimDisk
from tests.simulation.loop import SimLoop, SimWorker

IMAGE_BYTES = 16 << 10  # so that some batches are too large for it


class SimBatches(PageImage):
    """Stands in for core.disk.batch_writer.BatchWriter. carried = batches that went this way."""

    def __init__(self, files: Any, disk: SimDisk, loop: SimLoop):
        PageImage.__init__(self, files, disk, IMAGE_BYTES)
        self._disk = disk
        self._thread = SimWorker(loop, 0.002)
        self.carried = 0

    def put(self) -> None:
        """See PageImage."""
        data = bytes(self.view[self.at : self.at + self.size])
        if self.direct:
            assert not (self.place | self.size) % 4096, "only whole pages go past the page cache"
        self.carried += 1
        self._thread.submit(partial(self._carry, self.fd, data, self.place, self.sync), self._carried)

    def _carry(self, fd: int, data: bytes, place: int, sync: bool) -> int:
        try:
            if self._disk.write(fd, [data], place) != len(data):
                return SHORT
            if sync:
                self._disk.sync(fd)
        except OSError as error:
            return error.errno or SHORT
        return 0

    def _carried(self, result: Any) -> None:
        if isinstance(result, Exception):
            raise result
        self.finished(result)
