"""Which addresses are listened on, and the file that says so.

The ready file is JSON: listener -> the address really bound, and `pid`. It is written atomically when all accept.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
from pathlib import Path

from core.config import Endpoint, endpoint

BACKLOG = 1024
# The loopback's own segments are 65,483 bytes. A reader that fell behind may be left with a window of less than that
# (the kernel shrinks it when small segments fill the socket's buffer), and then a sender never finds room for one
# whole segment and gets rid of five a second, by the probe timer. A network's segments are smaller anyway.
SEGMENT_BYTES = 16384


class ListenError(Exception):
    """An address that cannot be bound: one line that names the listener, the address and the reason."""


class TlsError(Exception):
    """A file that TLS cannot use: one line that names the key, the file and the reason."""


def addresses(listeners) -> dict[str, Endpoint]:
    """The listeners that are on: name -> where."""
    found = {}
    for name in listeners.__struct_fields__:
        place = endpoint(getattr(listeners, name))
        if place is not None:
            found[name] = place
    return found


def open_socket(name: str, place: Endpoint) -> socket.socket:
    """Bind and listen. Raises ListenError."""
    shown = f"unix:{place.path}" if place.path else f"{place.host}:{place.port}"
    try:
        if place.path:
            return _open_unix(place.path)
        family, kind, protocol, _, address = min(
            socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE),
            key=lambda found: found[0] != socket.AF_INET,  # of a name with both, as localhost, what clients try at last
        )
        listening = socket.socket(family, kind, protocol)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT_BYTES)  # accepted sockets inherit it
            listening.bind(address)
            listening.listen(BACKLOG)
        except OSError:
            listening.close()
            raise
    except OSError as error:
        raise ListenError(f"listeners.{name}: cannot listen on {shown}: {error.strerror or error}") from None
    listening.setblocking(False)
    return listening


def _open_unix(path: str) -> socket.socket:
    """A socket file that nobody listens on any more is replaced; another file is not."""
    if os.path.exists(path) and stat.S_ISSOCK(os.stat(path).st_mode):
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(path)
            except ConnectionRefusedError:
                os.unlink(path)
    listening = socket.socket(socket.AF_UNIX)
    try:
        listening.bind(path)
        listening.listen(BACKLOG)
    except OSError:
        listening.close()
        raise
    listening.setblocking(False)
    return listening


def bound_address(listening: socket.socket) -> str:
    """HOST:PORT, [v6]:PORT or unix:PATH as really bound."""
    name = listening.getsockname()
    if listening.family == socket.AF_UNIX:
        return f"unix:{name}"
    host = f"[{name[0]}]" if listening.family == socket.AF_INET6 else name[0]
    return f"{host}:{name[1]}"


def write_ready_file(path: str, bound: dict[str, str]) -> None:
    """Write the ready file atomically."""
    target = Path(path)
    partial = target.with_name(target.name + ".partial")
    partial.write_text(json.dumps({**bound, "pid": os.getpid()}) + "\n")
    partial.replace(target)


def tune_socket(transport: asyncio.Transport) -> None:
    """What every accepted connection gets: no delay for small writes."""
    accepted = transport.get_extra_info("socket")
    if accepted is not None and accepted.family in (socket.AF_INET, socket.AF_INET6):
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def peer_address(transport: asyncio.Transport) -> tuple[str, int, bool]:
    """(host, port, whether it is this machine) of an accepted connection; a Unix socket's peer is this machine."""
    name = transport.get_extra_info("peername")
    if not isinstance(name, tuple):
        return "localhost", 0, True
    host = name[0].removeprefix("::ffff:")
    return host, name[1], host.startswith("127.") or host == "::1"


def local_address(transport: asyncio.Transport) -> tuple[str, int]:
    """(host, port) of ours that an accepted connection came in by; of a Unix socket this machine, port 0."""
    name = transport.get_extra_info("sockname")
    return (name[0].removeprefix("::ffff:"), name[1]) if isinstance(name, tuple) else ("127.0.0.1", 0)
