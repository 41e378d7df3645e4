"""File descriptors: asked for in a process of its own, as a limit that was lowered stays so."""

import subprocess
import sys

import pytest

from gateway.descriptors import RESERVED

ASK = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))
from gateway.descriptors import connection_limit
print(connection_limit({wanted}), resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


@pytest.mark.parametrize(
    ("soft", "hard", "wanted", "connections", "raised"),
    [
        (1024, 4096, 65535, 4096 - RESERVED, 4096),  # as far as it goes
        (1024, 4096, 1000, 1000, 1000 + RESERVED),  # as far as is asked for
        (1024, 4096, 100, 100, 1024),  # there is enough
        (1024, 1024, 65535, 1024 - RESERVED, 1024),
        (200, 200, 65535, 1, 200),
    ],
)
def test_the_soft_limit_is_raised_and_what_it_leaves_is_for_connections(soft, hard, wanted, connections, raised):
    code = ASK.format(soft=soft, hard=hard, wanted=wanted)
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert [int(word) for word in said.split()] == [connections, raised]
