"""What mocks cannot show: a server on a loopback socket that resets, truncates, dribbles and counts connections."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.parser import BytesParser
from pathlib import Path
from typing import Any

import pytest

PATIENCE = 10.0
TLS_HELLO = b"\x16"


class HangUp(Exception):
    """The server ends the connection."""


@dataclass(frozen=True)
class Received:
    """A request as it arrived."""

    verb: str
    target: str
    headers: dict[str, str]
    body: bytes


Reply = Callable[[socket.socket], None]


def answering(status: int = 200, body: bytes = b"[]", **headers: str) -> Reply:
    """A whole answer."""
    fields = {"Content-Length": str(len(body)), **{name.replace("_", "-"): value for name, value in headers.items()}}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return lambda connection: connection.sendall(f"HTTP/1.1 {status} Said\r\n{head}\r\n".encode() + body)


def chunked(*pieces: bytes, whole: bool = True, **headers: str) -> Reply:
    """An answer in chunks, the last of which may be missing."""
    fields = {"Transfer-Encoding": "chunked", **{name.replace("_", "-"): value for name, value in headers.items()}}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    parts = b"".join(f"{len(piece):x}\r\n".encode() + piece + b"\r\n" for piece in pieces)

    def reply(connection: socket.socket) -> None:
        connection.sendall(f"HTTP/1.1 200 OK\r\n{head}\r\n".encode() + parts + (b"0\r\n\r\n" if whole else b""))
        if not whole:
            raise HangUp

    return reply


def truncated(body: bytes, promised: int) -> Reply:
    """Fewer bytes than were promised, then the end."""

    def reply(connection: socket.socket) -> None:
        connection.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {promised}\r\n\r\n".encode() + body)
        raise HangUp

    return reply


def dribbling(pause: float, pieces: int, piece: bytes = b" ") -> Reply:
    """An answer that comes in small pieces."""

    def reply(connection: socket.socket) -> None:
        connection.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {pieces * len(piece)}\r\n\r\n".encode())
        for _ in range(pieces):
            time.sleep(pause)
            connection.sendall(piece)

    return reply


def silent(seconds: float) -> Reply:
    """Nothing for a while, then the end."""

    def reply(connection: socket.socket) -> None:
        time.sleep(seconds)
        raise HangUp

    return reply


def reset(connection: socket.socket) -> None:
    """The connection is broken off with a reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    raise HangUp


class LocalServer:
    """Gives one reply after the other, the last of them for ever.

    :param replies: what to do with each request.
    :param resets: how many connections are reset before anything is read from them.
    :param context: for TLS.
    """

    def __init__(self, *replies: Reply, resets: int = 0, context: ssl.SSLContext | None = None) -> None:
        self.received: list[Received] = []
        self.connections = 0
        self._replies = list(replies)
        self._resets = resets
        self._context = context
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"{'https' if context else 'http'}://127.0.0.1:{self.port}"
        threading.Thread(target=self._listen, daemon=True).start()

    def close(self) -> None:
        """No more connections; those that stand are ended."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.close()

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection, self.connections), daemon=True).start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        connection.settimeout(PATIENCE)
        with contextlib.suppress(OSError, ValueError, HangUp), contextlib.closing(connection):
            if number <= self._resets:
                # A reset that overtakes the handshake would look like a refused connection.
                connection.recv(1, socket.MSG_PEEK)
                reset(connection)
            if self._context is not None:
                connection = self._context.wrap_socket(connection, server_side=True)
            self._open.append(connection)
            with connection, connection.makefile("rb") as arriving:
                if arriving.peek(1)[:1] == TLS_HELLO:
                    connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
                    raise HangUp
                while line := arriving.readline():
                    verb, target, _ = line.decode("latin-1").split(" ", 2)
                    head = b"".join(iter(arriving.readline, b"\r\n"))
                    headers = dict(BytesParser().parsebytes(head).items())
                    body = arriving.read(int(headers.get("Content-Length", 0)))
                    self.received.append(Received(verb, target, headers, body))
                    reply = self._replies.pop(0) if len(self._replies) > 1 else self._replies[0]
                    reply(connection)


class LocalServers:
    """Makes servers that end with the test."""

    answering = staticmethod(answering)
    chunked = staticmethod(chunked)
    truncated = staticmethod(truncated)
    dribbling = staticmethod(dribbling)
    silent = staticmethod(silent)
    reset = staticmethod(reset)

    def __init__(self) -> None:
        self._servers: list[LocalServer] = []

    def __call__(self, *replies: Reply, **options: Any) -> LocalServer:
        server = LocalServer(*(replies or (answering(),)), **options)
        self._servers.append(server)
        return server

    @staticmethod
    def refusing_url() -> str:
        """An address on which nobody listens."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        return f"http://127.0.0.1:{port}"

    def close(self) -> None:
        for server in self._servers:
            server.close()


@pytest.fixture
def serve() -> Iterator[LocalServers]:
    """Starts servers on loopback sockets."""
    servers = LocalServers()
    yield servers
    servers.close()


@pytest.fixture
def own_state_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place of the test's own for what the processes of a host share."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


class Clock:
    """Time in which a pause passes at once; ``naps`` are the pauses."""

    def __init__(self) -> None:
        self.naps: list[float] = []

    def monotonic(self) -> float:
        return time.monotonic() + sum(self.naps)

    def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The time that the HTTP client lives in."""
    ticking = Clock()
    monkeypatch.setattr("airflow_provider_optimove.clients.http.time", ticking)
    return ticking
