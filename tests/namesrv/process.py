"""`mqnamesrv` as a process on a loopback port of its own choice, and a client of it."""

import json
import re
import socket
import struct
import subprocess
import sys
from pathlib import Path

from tests.clients.broker import until
from tests.namesrv.world import request

START_SECONDS = 30  # an uncompiled start on a busy machine
STOP_SECONDS = 10


class Client:
    """One connection."""

    def __init__(self, port, host="127.0.0.1"):
        self.socket = socket.create_connection((host, port), timeout=20)

    def send(self, data):
        """Bytes, whatever they are."""
        self.socket.sendall(data)

    def _exactly(self, count):
        data = bytearray()
        while len(data) < count:
            piece = self.socket.recv(count - len(data))
            if not piece:
                raise EOFError(f"closed after {len(data)} of {count} bytes")
            data += piece
        return bytes(data)

    def answer(self):
        """(header, body) of the next frame; its header is JSON."""
        (size,) = struct.unpack(">I", self._exactly(4))
        data = self._exactly(size)
        header_size = int.from_bytes(data[1:4], "big")
        assert data[0] == 0
        return json.loads(data[4 : 4 + header_size]), data[4 + header_size :]

    def ask(self, code, fields=None, body=b"", **more):
        """The answer to one request; what a broker asks of us meanwhile is passed over."""
        self.send(request(code, fields, body, **more))
        while not (found := self.answer())[0]["flag"] & 1:
            pass
        return found

    def closed(self):
        """Whether the server closes the connection without another byte."""
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def close(self):
        """The end."""
        self.socket.close()


class Namesrv:
    """The process; what it prints is in `output` and `log`."""

    def __init__(self, folder: Path, *lines, environment=None, port=0, before=""):
        """`before` is Python that runs in the process before anything else."""
        self.conf = folder / "namesrv.conf"
        self.kv = folder / "kv" / "kvConfig.json"
        self.conf.write_text(
            "\n".join([f"listenPort={port}", "bindAddress=127.0.0.1", f"kvConfigPath={self.kv}", *lines])
        )
        self._out, self._log = folder / "out", folder / "log"
        executable = [str(Path(sys.executable).with_name("mqnamesrv"))]
        if before:
            executable = [sys.executable, "-c", f"{before}; from namesrv.main import main; main()"]
        command = [*executable, "-c", str(self.conf)]
        with open(self._out, "wb") as out, open(self._log, "wb") as log:
            self.process = subprocess.Popen(command, stdout=out, stderr=log, env=environment, cwd=folder)
        self._clients = []

    @property
    def output(self):
        """What it printed."""
        return self._out.read_text()

    @property
    def log(self):
        """What it told the operator."""
        return self._log.read_text()

    def start(self):
        """Wait until it serves."""

        def booted():
            assert self.process.poll() is None, f"it ended with {self.process.returncode}: {self.log}"
            return re.search(r"address 127\.0\.0\.1:(\d+)\n", self.output)

        self.port = int(until(booted, START_SECONDS, "the boot line").group(1))
        return self

    def client(self):
        """A connection, closed with the process."""
        self._clients.append(Client(self.port))
        return self._clients[-1]

    def stop(self):
        """SIGTERM, and the exit code."""
        for client in self._clients:
            client.close()
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
