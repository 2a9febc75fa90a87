"""The processes of a run notice when one of them dies: it is named, and the others end.

A process that waits for another one, or computes its share for hours, would notice late or never.
So each keeps a connection to the first one. The system closes it when a process dies, whatever the
reason; if a machine or the network is gone, the system notices that nothing answers. Nothing is
sent meanwhile, so a process that is busy, stopped or starved is not taken for a dead one. Needs no
torch.
"""

from __future__ import annotations

import atexit
import json
import os
import secrets
import selectors
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import NoReturn

from tag2mask.errors import NodesError
from tag2mask.text.escaping import visible

GRACE_SECONDS = 20.0
"""How long a process may take to end by itself after another one ended with an error: most errors
are raised on all of them."""
VERDICT_SECONDS = 15.0
"""How long a process whose communication failed waits to learn which other one died."""
CONNECT_SECONDS = 60.0
_ALIVE = {"TCP_KEEPIDLE": 10, "TCP_KEEPALIVE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 4}
"""After 10 s of silence the system asks every 5 s; without four answers the other is gone."""

_LONGEST = 4096
"""Bytes of a message; ours are far shorter."""
_TEXTS = {
    "died": (
        "was killed, or its machine can't be reached",
        "Look for the reason there, such as memory; run the same command again: it resumes.",
    ),
    "failed": ("stopped", "Its own message says why."),
}


@dataclass(frozen=True)
class Member:
    """One process of the run, as the others name it.

    Attributes:
        rank: its number.
        host: name of its machine.
        pid: its process id there.
    """

    rank: int
    host: str
    pid: int

    @classmethod
    def of_this_process(cls, rank: int) -> Member:
        """Return this process."""
        return cls(rank, socket.gethostname(), os.getpid())

    def __str__(self) -> str:
        return f"rank {self.rank} (host {self.host}, process {self.pid})"


class Listener:
    """Where the first process awaits the others.

    Attributes:
        port: its TCP port on this machine.
        token: what the others must send, so that nobody else is taken for one of them.
    """

    def __init__(self) -> None:
        try:
            self.socket = socket.create_server(("", 0), family=socket.AF_INET6, dualstack_ipv6=True)
        except (OSError, ValueError):  # a system without IPv6
            self.socket = socket.create_server(("", 0))
        self.port: int = self.socket.getsockname()[1]
        self.token = secrets.token_hex(16)


class Watch:
    """Watches the other processes from now on, in a thread.

    Args:
        members: all processes, by rank.
        rank: of this process.
        place: the listener on rank 0; address, port and token of it on the others.

    Raises:
        NodesError: the first process can't be reached.
    """

    def __init__(
        self, members: Sequence[Member], rank: int, place: Listener | tuple[str, int, str]
    ) -> None:
        self._members = members
        self._rank = rank
        self._leaving = threading.Event()
        self._failed: str | None = None
        self._others: dict[socket.socket, int] = {}
        work: Callable[[], None]
        if isinstance(place, Listener):
            work = partial(self._serve, place)
        else:
            first = _connect(*place, rank)
            self._others[first] = 0
            work = partial(self._follow, first)
        threading.Thread(target=work, daemon=True, name="peers").start()

    def leave(self, *, failed: bool) -> None:
        """Tell the others that this process ends by itself, and watch no longer.

        Args:
            failed: whether it ends with an error, so that the others must not wait for it.
        """
        if self._leaving.is_set():
            return
        self._leaving.set()
        for other in list(self._others):
            _send(other, rank=self._rank, how="failed" if failed else "done")

    def await_verdict(self) -> None:
        """End this process with the name of another one that died, if that is known soon."""
        deadline = time.monotonic() + VERDICT_SECONDS
        while time.monotonic() < deadline:
            if self._failed is not None:
                _end(self._failed)
            time.sleep(0.05)

    def _serve(self, listener: Listener) -> None:
        """Await the others, pass on which one is gone."""
        with selectors.DefaultSelector() as ready:
            ready.register(listener.socket, selectors.EVENT_READ)
            texts: dict[socket.socket, bytes] = {}
            while True:
                for key, _ in ready.select():
                    found = key.fileobj
                    assert isinstance(found, socket.socket)
                    if found is listener.socket:
                        other, _ = found.accept()
                        _keep_alive(other)
                        texts[other] = b""
                        ready.register(other, selectors.EVENT_READ)
                        continue
                    part = _receive(found)
                    texts[found] += part
                    if part and b"\n" not in texts[found] and len(texts[found]) < _LONGEST:
                        continue
                    line, _, texts[found] = texts[found].partition(b"\n")
                    if found not in self._others and self._greet(found, line, listener.token):
                        continue
                    ready.unregister(found)
                    del texts[found]
                    rank = self._others.pop(found, None)
                    found.close()
                    if rank is not None:
                        self._on_end(rank, line)

    def _greet(self, other: socket.socket, line: bytes, token: str) -> bool:
        """Accept a process of this run; return whether it is one."""
        said = _parsed(line)
        rank = said.get("rank")
        if said.get("token") != token or not isinstance(rank, int):
            return False
        self._others[other] = rank
        _send(other, how="welcome")
        return True

    def _follow(self, first: socket.socket) -> None:
        """Await news from the first process."""
        text = b""
        while b"\n" not in text and (part := _receive(first)):
            text += part
        line = text.partition(b"\n")[0]
        rank = _parsed(line).get("rank")
        self._on_end(rank if isinstance(rank, int) else 0, line)

    def _on_end(self, rank: int, line: bytes) -> None:
        """React to what a process said last, or to its silent end."""
        how = _parsed(line).get("how")
        if how == "done" or self._leaving.is_set():
            return
        how = "failed" if how == "failed" else "died"
        what, fix = _TEXTS[how]
        text = f"{self._members[rank]} {what}. {fix}"
        for other in list(self._others):
            _send(other, rank=rank, how=how)
        if how == "failed":
            self._failed = text
            self._leaving.wait(GRACE_SECONDS)
        if not self._leaving.is_set():
            _end(text)


_watch: Watch | None = None
"""The watch of this process; there is one, as there is one group of processes."""


def is_watching() -> bool:
    """Return whether this process watches others."""
    return _watch is not None


def start_watch(
    members: Sequence[Member], rank: int, place: Listener | tuple[str, int, str]
) -> None:
    """Watch the other processes until this one ends; see `Watch`."""
    global _watch
    _watch = Watch(members, rank, place)
    atexit.register(_leave_at_exit)


def report_end(error: BaseException) -> None:
    """Tell the other processes, if there are any, that this one ends with an error.

    Where another one died, communication fails here: then this process ends with its name, and the
    function doesn't return.
    """
    if _watch is not None:
        if isinstance(error, RuntimeError):
            _watch.await_verdict()
        _watch.leave(failed=True)


def _leave_at_exit() -> None:
    if _watch is not None:
        _watch.leave(failed=getattr(sys, "last_value", None) is not None)


def _end(text: str) -> NoReturn:
    """End this process, whose main thread may wait in a library for ever."""
    os.write(2, f"error: {visible(text)}\n".encode())
    os._exit(1)


def _connect(address: str, port: int, token: str, rank: int) -> socket.socket:
    """Return the connection to the first process, which has greeted this one.

    Raises:
        NodesError: it can't be reached.
    """
    try:
        connection = socket.create_connection((address, port), CONNECT_SECONDS)
        _send(connection, rank=rank, token=token)
        # One byte at a time, so that what follows stays there.
        greeted = b""
        while not greeted.endswith(b"\n") and (part := connection.recv(1)):
            greeted += part
    except OSError as error:
        raise NodesError(
            f"rank {rank} on {socket.gethostname()} can't connect to the first process: "
            f"{error.strerror or error}",
            where=f"{address}:{port}",
            fix="Let the nodes connect to each other's ports (firewall).",
        ) from None
    if not greeted:
        raise NodesError(
            f"the first process refused rank {rank}",
            where=f"{address}:{port}",
            fix="Run the same command again.",
        )
    connection.settimeout(None)
    _keep_alive(connection)
    return connection


def _keep_alive(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _ALIVE.items():
        if hasattr(socket, name):  # systems differ
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _send(connection: socket.socket, **said: object) -> None:
    with suppress(OSError):  # it is gone; the thread notices
        connection.sendall(json.dumps(said).encode() + b"\n")


def _receive(connection: socket.socket) -> bytes:
    """Return what has arrived; empty once the other process is gone."""
    try:
        return connection.recv(4096)
    except OSError:
        return b""


def _parsed(line: bytes) -> dict[str, object]:
    try:
        said = json.loads(line)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}
