"""A server that takes every call, answers 200, and only then counts what came.

Prints its address. ``GET /count`` tells the number of calls, of bytes in their bodies and of customers' ids so far. It
ends with its standard input.
"""

from __future__ import annotations

import json
import socket
import threading
from collections import Counter

from tests.benchmarks.fast_server import FastServer, head_of

# How every id begins, and nothing else in a body.
CUSTOMER_ID = b'"CUST'


class CountingServer(FastServer):
    """Counts calls, bytes and ids."""

    def __init__(self) -> None:
        super().__init__()
        self._counts = Counter(calls=0, bytes=0, ids=0)
        self._lock = threading.Lock()

    def handle(self, connection: socket.socket, request: bytearray, body: int, end: int) -> None:
        # Whoever asks for the counts after an answer finds the call in them.
        with self._lock:
            if request.startswith(b"GET /count"):
                counts = json.dumps(self._counts).encode()
                connection.sendall(head_of(len(counts)) + counts)
            else:
                connection.sendall(head_of(0))
                self._counts.update(calls=1, bytes=end - body, ids=request.count(CUSTOMER_ID, body, end))


if __name__ == "__main__":
    CountingServer().serve_until_input_ends()
