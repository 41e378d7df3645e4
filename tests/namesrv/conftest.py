"""A name server of one's own, as a process."""

import pytest

from tests.namesrv.process import Namesrv


@pytest.fixture
def start(tmp_path):
    started = []

    def start_(*lines, **more):
        folder = tmp_path / str(len(started))
        folder.mkdir()
        started.append(Namesrv(folder, *lines, **more))
        return started[-1].start()

    yield start_
    for each in started:
        each.stop()
