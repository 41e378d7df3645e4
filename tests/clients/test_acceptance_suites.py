"""A client's own tests against a real broker, as its source distribution has them.

py-amqp brings its integration tests in its sdist; pika (since 1.2 at least) leaves its acceptance tests out, so they
cannot be had from the package index.
"""

import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.clients.foreign.builds import fetched, once

PY_AMQP = "5.4.2"
RUN_SECONDS = 120
# Left out, all by one word: test_tls_default_certs and test_tls_no_default_certs_fails speak to badssl.com;
# test_tls_connect_fails, and the `tls` half of the others, need certificates that the sdist lacks.
SELECTED, TESTS = "not tls", 48


def sdist(name: str, version: str) -> Path:
    """The unpacked source distribution; skips when it cannot be had."""

    def make(folder: Path) -> None:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
        fetched(f"{name}'s sdist", [*pip, "--no-build-isolation", f"{name}=={version}"], folder)
        (archive,) = folder.glob("*.tar.gz")
        with tarfile.open(archive) as content:
            content.extractall(folder, filter="data")

    return once(f"sdist-{name}-{version}", make) / f"{name}-{version}"


@pytest.mark.timeout(400)
def test_py_amqps_integration_tests_pass(broker):
    folder = sdist("amqp", PY_AMQP)
    options = ["-q", "-p", "no:cacheprovider", "--timeout", "30", "-k", SELECTED, "t/integration"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options],
        cwd=folder,
        env={"RABBITMQ_HOST": "127.0.0.1", "RABBITMQ_5672_TCP": str(broker.port), "PYTHONDONTWRITEBYTECODE": "1"},
        text=True,
        capture_output=True,
        timeout=RUN_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{TESTS} passed" in done.stdout
