"""What this disk and this loopback allow with no broker at all: what a durable confirm cannot be faster than.

As a program it is the other end of the loopback: it prints its port and answers every message with a short one.
"""

from __future__ import annotations

import os
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROUNDS = 2000
SECONDS_MAX = 3.0  # for each of the two
FILE_BYTES = 8 << 20  # zero-filled: a broker that writes into space made ahead needs no journal
MESSAGE_BYTES, ANSWER_BYTES = 1024, 21  # a durable publish, its confirm


def fdatasync_ms(folder: Path, core: int | None) -> float:
    """Median of writing 1 KiB into a zero-filled file in that folder, and fdatasync."""
    path = folder / f"floor-{os.getpid()}"
    before = os.sched_getaffinity(0)
    if core is not None:
        os.sched_setaffinity(0, {core})
    file = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        os.write(file, bytes(FILE_BYTES))
        os.fsync(file)
        data, took = os.urandom(MESSAGE_BYTES), []
        end = time.monotonic() + SECONDS_MAX
        for at in range(0, ROUNDS * MESSAGE_BYTES, MESSAGE_BYTES):
            began = time.monotonic()
            os.pwrite(file, data, at)
            os.fdatasync(file)
            took.append(time.monotonic() - began)
            if began > end:
                break
    finally:
        os.close(file)
        path.unlink()
        os.sched_setaffinity(0, before)
    return statistics.median(took) * 1000


def round_trip_ms(core: int | None) -> float:
    """Median of 1 KiB to a process on that core, and a short answer back, over loopback TCP."""
    pin = None if core is None else lambda: os.sched_setaffinity(0, {core})
    command = [sys.executable, "-m", "tests.bench.floor"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, preexec_fn=pin, text=True) as other:
        assert other.stdout is not None
        try:
            port = int(other.stdout.readline())
            with socket.create_connection(("127.0.0.1", port), 10) as sock:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return statistics.median(round_trips(sock)) * 1000
        finally:
            other.terminate()


def round_trips(sock: socket.socket) -> list[float]:
    """Seconds of each round trip."""
    data, took = bytes(MESSAGE_BYTES), []
    end = time.monotonic() + SECONDS_MAX
    for _ in range(ROUNDS):
        began = time.monotonic()
        sock.sendall(data)
        if len(sock.recv(ANSWER_BYTES, socket.MSG_WAITALL)) < ANSWER_BYTES:
            raise OSError("the other end of the loopback went away")
        took.append(time.monotonic() - began)
        if began > end:
            break
    return took


def answer() -> None:
    """Serve one connection until it ends."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10)
        print(server.getsockname()[1], flush=True)
        sock, _ = server.accept()
        with sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while len(sock.recv(MESSAGE_BYTES, socket.MSG_WAITALL)) == MESSAGE_BYTES:
                sock.sendall(bytes(ANSWER_BYTES))


if __name__ == "__main__":
    answer()
