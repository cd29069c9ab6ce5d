"""A server that costs a caller next to nothing: it takes every call, answers 200, and only then counts what came.

Prints its address. ``GET /count`` tells the number of calls, of bytes in their bodies and of customers' ids so far. It
ends with its standard input.
"""

from __future__ import annotations

import json
import re
import socket
import sys
import threading
from collections import Counter

HOST = "127.0.0.1"
END_OF_HEAD = b"\r\n\r\n"
CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
# How every id begins, and nothing else in a body.
CUSTOMER_ID = b'"CUST'
ROOM_AT_FIRST = 1 << 20


class FastServer:
    """Serves each connection in a thread of its own, for as long as the process lives."""

    def __init__(self) -> None:
        self._counts = Counter(calls=0, bytes=0, ids=0)
        self._lock = threading.Lock()
        self._listening = socket.create_server((HOST, 0), backlog=128)
        self.url = f"http://{HOST}:{self._listening.getsockname()[1]}"

    def accept_connections(self) -> None:
        while True:
            connection, _ = self._listening.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        buffer = bytearray(ROOM_AT_FIRST)
        with connection:
            while request := _receive(connection, buffer):
                body, end = request
                if buffer.startswith(b"GET /count"):
                    with self._lock:
                        _answer(connection, json.dumps(self._counts).encode())
                    continue
                # Whoever asks for the counts after this answer finds the call in them.
                with self._lock:
                    _answer(connection)
                    self._counts.update(calls=1, bytes=end - body, ids=buffer.count(CUSTOMER_ID, body, end))


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


def _answer(connection: socket.socket, body: bytes = b"") -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))


if __name__ == "__main__":
    server = FastServer()
    threading.Thread(target=server.accept_connections, daemon=True).start()
    print(server.url, flush=True)
    sys.stdin.read()
