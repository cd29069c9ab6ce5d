"""What every stand-in shares: a server on localhost, calls that go wrong on demand, and a record of the calls.

:class:`StandIn` is the server; the stand-ins of the systems beside Optimove are made of :class:`SystemStandIn`, which
also tells operations apart, applies the faults and records the calls. Such a stand-in says four things::

    class Parrot(SystemStandIn):
        def __init__(self, port: int = 0, api_key: str = "sandbox-key") -> None:
            super().__init__(port)
            self.api_key = api_key
            self.said: list[str] = []

        @property
        def connection(self) -> str:
            return json.dumps({"conn_type": "parrot", "host": self.url, "password": self.api_key})

        @property
        def secrets(self) -> tuple[str, ...]:
            return (self.api_key,)

        def _function_of(self, received: Received) -> str | None:
            return "say" if received.path == "/say" else None

        def _answer(self, function: str, received: Received) -> Reply:
            if not same(received.headers.get("X-Key", ""), self.api_key):
                raise Refused("the key is not valid", 401)
            if "words" not in received.fields:
                raise Refused("words are needed")
            with self.lock:
                self.said.append(received.fields["words"])
            return Reply(body=b'{"ok":true}')

``Refused`` is answered by ``_refusal``; override that where errors have a form of their own. A large body is an
iterable of bytes, and the lock is not held while it is sent::

    return Reply(body=(b"<row/>" * 1000 for _ in range(1000)), content_type="application/xml")

In tests: ``fail("say", status=503)``, ``calls``, ``calls_of("say")``.
"""

from __future__ import annotations

import contextlib
import hmac
import json
import logging
import socket
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Generic, Protocol, Self, TypeVar, cast
from urllib.parse import parse_qsl, quote, urlsplit

from airflow_provider_optimove import __version__
from airflow_provider_optimove.sandbox.faults import Fault, Faults

HOST = "127.0.0.1"
JSON = "application/json; charset=utf-8"
PLAIN = "text/plain; charset=utf-8"
FORM = "application/x-www-form-urlencoded"
IDLE_CONNECTION_TIMEOUT = 120.0
HIDDEN = "***"

log = logging.getLogger(__name__)


class Refused(Exception):
    """A call that is answered with an error; the text is what the caller reads."""

    def __init__(self, text: str, status: int = 400, *, reason: str | None = None) -> None:
        super().__init__(text)
        self.text = text
        self.status = status
        self.reason = reason


@dataclass(frozen=True)
class Reply:
    """What goes back over the wire.

    :param body: bytes, or pieces of them that are sent as they come; pieces of some 64 KB are quick.
    :param length: bytes of a body in pieces; None where it is not known: it is sent in chunks then.
    :param dropped: close the connection instead.
    :param truncated: send half of the body, of pieces without a length the first one; then close the connection.
    """

    status: int = 200
    body: bytes | Iterable[bytes] = b""
    content_type: str = JSON
    reason: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    dropped: bool = False
    truncated: bool = False
    length: int | None = None


class AnyCall(Protocol):
    """What the records of calls have in common."""

    @property
    def function(self) -> str: ...


CallT = TypeVar("CallT", bound=AnyCall)


class StandIn(ABC, Generic[CallT]):
    """A system on localhost, to try things out and for tests. A context manager, or ``start()`` and ``stop()``.

    ``calls`` is what was asked, oldest first; ``fail()`` makes calls go wrong, and ``faults`` are the ones to come. Who
    reads or changes what the system knows holds ``lock``.

    :param port: port on 127.0.0.1; 0 takes a free one.
    :param clock: what tells the seconds.
    """

    def __init__(self, port: int = 0, clock: Callable[[], float] = time.monotonic) -> None:
        self.port = port
        self.clock = clock
        self.lock = threading.RLock()
        self.faults = Faults()
        self.calls: list[CallT] = []
        self._stopped = threading.Event()
        self._server: _Server | None = None

    def start(self) -> Self:
        """Begin to serve."""
        self._stopped.clear()
        self._server = _Server((HOST, self.port), self)
        self.port = self._server.server_port
        self._server.thread.start()
        return self

    def stop(self) -> None:
        """Stop serving and close all connections."""
        self._stopped.set()
        if self._server is not None:
            self._server.stop()
            self._server = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://{HOST}:{self.port}"

    @property
    @abstractmethod
    def connection(self) -> str:
        """The Airflow connection that leads here, as JSON for ``AIRFLOW_CONN_…``."""

    @property
    def connection_id(self) -> str:
        """The id that hooks and operators look that connection up by when they are told no other."""
        return f"{json.loads(self.connection)['conn_type']}_default"

    def calls_of(self, function: str) -> list[CallT]:
        """The calls of one function or operation, oldest first; its name in any letter case."""
        return [call for call in list(self.calls) if call.function.lower() == function.lower()]

    def fail(self, function: str | None = None, **what: Any) -> Fault:
        """Make calls go wrong; the arguments are those of :class:`Fault`."""
        fault = Fault(function, **what)
        self.faults.add(fault)
        return fault

    @abstractmethod
    def _handle(self, verb: str, path: str, headers: Message, body: bytes) -> Reply:
        """Answer one call; the path with its query, as it was sent."""

    def _answer_with(self, fault: Fault | None, answer: Callable[[], Reply]) -> Reply:
        """The answer, or what a fault makes of it."""
        if fault is None:
            return answer()
        if self._stopped.wait(fault.delay) or fault.drop == "before":
            return Reply(dropped=True)
        reply = Reply() if fault.replaces_answer else answer()
        if fault.body is not None:
            body = fault.body.encode() if isinstance(fault.body, str) else fault.body
            reply = replace(reply, body=body, content_type=fault.content_type, length=None)
        return replace(
            reply,
            status=reply.status if fault.status is None else fault.status,
            reason=fault.reason or reply.reason,
            headers={**reply.headers, **fault.headers},
            dropped=fault.drop == "after",
            truncated=fault.truncate,
        )


@dataclass(frozen=True)
class Received:
    """A call as it came in.

    :param path: without the query, as it was sent: not decoded.
    :param query: names and values in their order.
    :param fields: those of a form or of a JSON object; empty when the body is neither.
    """

    verb: str
    path: str
    query: list[tuple[str, str]]
    headers: Message
    body: bytes
    fields: Mapping[str, Any]


@dataclass(frozen=True)
class SystemCall:
    """What is remembered of a call; secrets are replaced with ``***``.

    :param function: the operation's name; the path where there is no such operation.
    :param verb: HTTP verb.
    :param path: without the query, as it was sent.
    :param query: names and values in their order.
    :param fields: those of a form or of a JSON object.
    :param headers: the names of the headers, in lower case.
    :param user_agent: what the caller says it is.
    :param status: HTTP status of the reply; None when the connection was dropped instead.
    :param time: when the call arrived, in seconds of the stand-in's clock.
    """

    function: str
    verb: str
    path: str
    query: list[tuple[str, str]]
    fields: Mapping[str, Any]
    headers: frozenset[str]
    user_agent: str
    status: int | None
    time: float


class SystemStandIn(StandIn[SystemCall]):
    """The stand-in of a system beside Optimove; its parameters, ``calls`` and ``fail()`` are those of StandIn."""

    @property
    @abstractmethod
    def secrets(self) -> tuple[str, ...]:
        """What the record of calls must not hold."""

    @abstractmethod
    def _function_of(self, received: Received) -> str | None:
        """The operation that is called; None: there is no such one, and the answer is 404."""

    @abstractmethod
    def _answer(self, function: str, received: Received) -> Reply:
        """Carry out a call.

        :raises Refused: it is answered with an error.
        """

    def _refusal(self, refused: Refused) -> Reply:
        return Reply(refused.status, refused.text.encode(), PLAIN, reason=refused.reason)

    def _handle(self, verb: str, path: str, headers: Message, body: bytes) -> Reply:
        arrived = self.clock()
        received = Received(verb, urlsplit(path).path, query_of(path), headers, body, _fields_of(headers, body))
        function = self._function_of(received)
        if function is None:
            reply = self._refusal(Refused("there is no such address", 404))
        else:
            reply = self._answer_with(self.faults.next_for(function), lambda: self._carry_out(function, received))
        call = SystemCall(
            function=function or self._without_secrets(received.path),
            verb=verb,
            path=self._without_secrets(received.path),
            query=[(name, self._without_secrets(value)) for name, value in received.query],
            fields=self._without_secrets(received.fields),
            headers=frozenset(name.lower() for name in headers),
            user_agent=headers.get("User-Agent", ""),
            status=None if reply.dropped else reply.status,
            time=arrived,
        )
        self.calls.append(call)
        log.debug("%s %s -> %s", verb, call.function, "dropped" if reply.dropped else reply.status)
        return reply

    def _carry_out(self, function: str, received: Received) -> Reply:
        try:
            return self._answer(function, received)
        except Refused as refused:
            return self._refusal(refused)

    def _without_secrets(self, value: Any) -> Any:
        match value:
            case str():
                for secret in self.secrets:
                    value = value.replace(secret, HIDDEN).replace(quote(secret, safe=""), HIDDEN)
                return value
            case list():
                return [self._without_secrets(item) for item in value]
            case dict():
                return {name: self._without_secrets(item) for name, item in value.items()}
            case _:
                return value


def query_of(path: str) -> list[tuple[str, str]]:
    """Names and values of the query in their order."""
    return parse_qsl(urlsplit(path).query, keep_blank_values=True)


def same(one: str, other: str) -> bool:
    """Whether two secrets are equal, in a time that does not tell where they differ."""
    return hmac.compare_digest(one.encode(), other.encode())


def _fields_of(headers: Message, body: bytes) -> dict[str, Any]:
    try:
        if headers.get_content_type() == FORM:
            return dict(parse_qsl(body.decode(), keep_blank_values=True))
        content = json.loads(body)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], stand_in: StandIn[Any]) -> None:
        self.stand_in = stand_in
        self.stopping = threading.Event()
        self._connections: set[socket.socket] = set()
        self._connections_lock = threading.Lock()
        super().__init__(address, _Handler)
        name = f"{type(stand_in).__name__}-{self.server_port}"
        self.thread = threading.Thread(target=self._accept_connections, name=name, daemon=True)

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        with self._connections_lock:
            self._connections.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        with self._connections_lock:
            self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        if isinstance(sys.exception(), OSError):
            log.debug("a connection failed", exc_info=True)
        else:
            log.exception("the sandbox itself failed")

    def _accept_connections(self) -> None:
        """Like ``serve_forever``, but without waking up to see whether it shall stop."""
        while not self.stopping.is_set():
            try:
                connection, address = self.get_request()
            except OSError:
                self.stopping.wait(0.05)
                continue
            self.process_request(connection, address)
        self.server_close()

    def stop(self) -> None:
        self.stopping.set()
        with contextlib.suppress(OSError):
            socket.create_connection((HOST, self.server_port), timeout=1).close()
        self.thread.join(timeout=1)
        with self._connections_lock:
            connections = list(self._connections)
        for connection in connections:
            _cut(connection)


def _cut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    timeout = IDLE_CONNECTION_TIMEOUT

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    do_PUT = do_DELETE = do_PATCH = do_POST

    def _serve(self) -> None:
        length = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers or not length.isdigit():
            self.close_connection = True
            self._send(Reply(411, b"the body's length is needed", PLAIN))
            return
        body = self.rfile.read(int(length))
        stand_in = cast(_Server, self.server).stand_in
        try:
            reply = stand_in._handle(self.command, self.path, self.headers, body)
        except Exception:
            log.exception("the sandbox itself failed")
            reply = Reply(500, b"the sandbox itself failed; see its log", PLAIN)
        if reply.dropped:
            self.close_connection = True
            _cut(self.connection)
        else:
            self._send(reply)

    def _send(self, reply: Reply) -> None:
        length = len(reply.body) if isinstance(reply.body, bytes) else reply.length
        self.send_response(reply.status, reply.reason)
        if reply.body:
            self.send_header("Content-Type", reply.content_type)
        if length is None:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(length))
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.end_headers()
        if reply.truncated:
            self.close_connection = True
        pieces = [reply.body] if isinstance(reply.body, bytes) else reply.body
        if length is None:
            self._send_in_chunks(pieces, truncated=reply.truncated)
        else:
            self._send_pieces(pieces, length // 2 if reply.truncated else length)

    def _send_pieces(self, pieces: Iterable[bytes], most: int) -> None:
        for piece in pieces:
            self.wfile.write(piece[:most])
            most -= len(piece)
            if most <= 0:
                return

    def _send_in_chunks(self, pieces: Iterable[bytes], *, truncated: bool) -> None:
        for piece in pieces:
            # An empty chunk would end the body.
            if piece:
                self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                if truncated:
                    return
        self.wfile.write(b"0\r\n\r\n")

    def version_string(self) -> str:
        return f"{type(cast(_Server, self.server).stand_in).__name__}/{__version__}"

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: paths hold customers' ids and addresses."""
