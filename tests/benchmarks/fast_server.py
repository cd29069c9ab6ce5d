"""What the servers of the benchmarks share: plain sockets that cost a caller next to nothing."""

from __future__ import annotations

import re
import socket
import sys
import threading
from abc import ABC, abstractmethod
from contextlib import suppress

HOST = "127.0.0.1"
END_OF_HEAD = b"\r\n\r\n"
CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
ROOM_AT_FIRST = 1 << 20


class FastServer(ABC):
    """Serves each connection in a thread of its own, for as long as the process lives."""

    def __init__(self) -> None:
        self._listening = socket.create_server((HOST, 0), backlog=128)

    def serve_until_input_ends(self) -> None:
        """Print the address, and serve until standard input is closed."""
        threading.Thread(target=self._accept_connections, daemon=True).start()
        print(f"http://{HOST}:{self._listening.getsockname()[1]}", flush=True)
        sys.stdin.read()

    @abstractmethod
    def handle(self, connection: socket.socket, request: bytearray, body: int, end: int) -> None:
        """Answer one request.

        :param connection: where it came from.
        :param request: the request with its head; what stands behind ``end`` is of earlier ones.
        :param body: where its body begins.
        :param end: where its body ends.
        """

    def _accept_connections(self) -> None:
        while True:
            connection, _ = self._listening.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        buffer = bytearray(ROOM_AT_FIRST)
        # Who breaks off in the middle of an answer has failed and says why.
        with connection, suppress(ConnectionError):
            while request := _receive(connection, buffer):
                self.handle(connection, buffer, *request)


def head_of(length: int, status: str = "200 OK") -> bytes:
    """The head of an answer in JSON.

    :param length: bytes of its body.
    :param status: number and reason.
    """
    return (
        f"HTTP/1.1 {status}\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: {length}\r\n\r\n"
    ).encode()


def _receive(connection: socket.socket, buffer: bytearray) -> tuple[int, int] | None:
    """Read one request into the buffer: where its body begins and ends; None when the caller has gone."""
    got = 0
    while (head := buffer.find(END_OF_HEAD, 0, got)) < 0:
        received = _receive_into(connection, buffer, got)
        if not received:
            return None
        got += received
    body = head + len(END_OF_HEAD)
    length = CONTENT_LENGTH.search(buffer, 0, body)
    end = body + int(length[1]) if length else body
    buffer.extend(bytes(max(0, end - len(buffer))))
    while got < end:
        received = _receive_into(connection, buffer, got)
        if not received:
            return None
        got += received
    return body, end


def _receive_into(connection: socket.socket, buffer: bytearray, start: int) -> int:
    with memoryview(buffer) as whole, whole[start:] as room:
        return connection.recv_into(room)
