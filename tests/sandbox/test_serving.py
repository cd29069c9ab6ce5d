"""What every stand-in shares: answers in pieces, faults and the record of calls, shown with one that is made up."""

from __future__ import annotations

import http.client
import json
import logging
import textwrap
import tracemalloc
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from airflow_provider_optimove.sandbox import serving
from airflow_provider_optimove.sandbox.serving import FORM, Received, Reply, SystemStandIn

KEY = "key+of/the parrot"
PIECE = b"x" * 64_000


def parrot_of_the_docstring() -> type[SystemStandIn]:
    assert serving.__doc__ is not None
    example = serving.__doc__.split("things::\n")[1].split("\n``Refused``")[0]
    names: dict[str, Any] = {"json": json, **vars(serving)}
    exec(textwrap.dedent(example), names)
    parrot: type[SystemStandIn] = names["Parrot"]
    return parrot


class Streaming(parrot_of_the_docstring()):  # type: ignore[misc]
    """Answers GET with what it is given, beside what the docstring's does."""

    pieces: Iterable[bytes] = ()
    length: int | None = None

    def _answer(self, function: str, received: Received) -> Reply:
        if received.verb == "POST":
            reply: Reply = super()._answer(function, received)
            return reply
        return Reply(body=self.pieces, length=self.length, content_type="text/plain")


@pytest.fixture
def parrot() -> Iterator[Any]:
    with Streaming(api_key=KEY) as running:
        yield running


@pytest.fixture
def connection(parrot: Any) -> Iterator[http.client.HTTPConnection]:
    made = http.client.HTTPConnection("127.0.0.1", parrot.port, timeout=10)
    yield made
    made.close()


def get(connection: http.client.HTTPConnection, path: str = "/say") -> http.client.HTTPResponse:
    connection.request("GET", path)
    return connection.getresponse()


def say(connection: http.client.HTTPConnection, body: str, content_type: str, key: str = KEY) -> tuple[int, bytes]:
    connection.request("POST", "/say", body, {"X-Key": key, "Content-Type": content_type, "User-Agent": "test/1"})
    response = connection.getresponse()
    return response.status, response.read()


# Answers


def test_the_stand_in_of_the_docstring(parrot: Any, connection: http.client.HTTPConnection) -> None:
    assert say(connection, "words=hello+there", FORM) == (200, b'{"ok":true}')
    assert say(connection, '{"words": "again"}', "application/json") == (200, b'{"ok":true}')
    assert say(connection, "word=hello", FORM) == (400, b"words are needed")
    assert say(connection, "words=no", FORM, key="another") == (401, b"the key is not valid")
    assert parrot.said == ["hello there", "again"]
    assert json.loads(parrot.connection) == {"conn_type": "parrot", "host": parrot.url, "password": KEY}
    assert parrot.connection_id == "parrot_default"


def test_an_address_that_does_not_exist(parrot: Any, connection: http.client.HTTPConnection) -> None:
    response = get(connection, "/sing?x=1")

    assert (response.status, response.read()) == (404, b"there is no such address")
    assert [(call.function, call.status) for call in parrot.calls] == [("/sing", 404)]


@pytest.mark.parametrize(("length", "header"), [(None, {"Transfer-Encoding": "chunked"}), (6, {"Content-Length": "6"})])
def test_an_answer_in_pieces(
    parrot: Any, connection: http.client.HTTPConnection, length: int | None, header: dict[str, str]
) -> None:
    parrot.length = length
    for _ in range(2):
        parrot.pieces = iter([b"one", b"", b"two"])
        response = get(connection)
        headers = {
            name: value for name, value in response.getheaders() if name in ("Transfer-Encoding", "Content-Length")
        }
        assert (response.read(), headers) == (b"onetwo", header)


@pytest.mark.parametrize("length", [None, 1000 * len(PIECE)])
def test_a_large_answer_needs_little_memory(
    parrot: Any, connection: http.client.HTTPConnection, length: int | None
) -> None:
    parrot.pieces, parrot.length = (bytes(PIECE) for _ in range(1000)), length
    tracemalloc.start()
    try:
        response = get(connection)
        received = 0
        while read := response.read(64_000):
            received += len(read)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert received == 1000 * len(PIECE)
    assert most < 20 * len(PIECE)


def test_an_answer_that_breaks_off_in_the_middle(
    parrot: Any, connection: http.client.HTTPConnection, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> Iterator[bytes]:
        yield b"one"
        raise ValueError("a mistake in the stand-in")

    parrot.pieces = broken()
    with caplog.at_level(logging.ERROR), pytest.raises(http.client.IncompleteRead):
        get(connection).read()
    assert "the sandbox itself failed" in caplog.text
    assert "a mistake in the stand-in" in caplog.text


# Faults


@pytest.mark.parametrize(("length", "read"), [(None, b"one!"), (10, b"one!t")])
def test_an_answer_in_pieces_is_truncated(
    parrot: Any, connection: http.client.HTTPConnection, length: int | None, read: bytes
) -> None:
    parrot.fail("say", truncate=True)
    parrot.pieces, parrot.length = [b"one!", b"two!", b"3!"], length

    with pytest.raises(http.client.IncompleteRead) as raised:
        get(connection).read()
    assert raised.value.partial == read
    connection.close()
    assert get(connection).read() == b"one!two!3!"


@pytest.mark.parametrize("body", ["<no/>", b"<no/>", [b"<no", b"/>"]])
def test_a_body_instead_of_the_answer(parrot: Any, connection: http.client.HTTPConnection, body: Any) -> None:
    parrot.pieces, parrot.length = [b"12"], 2
    how = {"status": 502, "content_type": "text/xml", "headers": {"Retry-After": "3"}, "takes_effect": True}
    parrot.fail("SAY", body=body, **how)
    response = get(connection)

    assert (response.status, response.read()) == (502, b"<no/>")
    assert (response.headers["Content-Type"], response.headers["Retry-After"]) == ("text/xml", "3")
    assert get(connection).read() == b"12"


@pytest.mark.parametrize(
    ("fault", "status", "said"),
    [
        ({"drop": "before"}, None, []),
        ({"drop": "after"}, None, ["hi"]),
        ({"status": 500}, 500, []),
        ({"status": 500, "takes_effect": True}, 500, ["hi"]),
    ],
)
def test_whether_a_call_that_goes_wrong_takes_effect(
    parrot: Any,
    connection: http.client.HTTPConnection,
    fault: dict[str, Any],
    status: int | None,
    said: list[str],
) -> None:
    parrot.fail(**fault)
    if status is None:
        with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
            say(connection, "words=hi", FORM)
    else:
        assert say(connection, "words=hi", FORM)[0] == status
    assert parrot.said == said
    assert [call.status for call in parrot.calls_of("Say")] == [status]
    assert say(connection, "words=again", FORM)[0] == 200


# The record of calls


def test_calls_are_remembered_without_secrets(parrot: Any, connection: http.client.HTTPConnection) -> None:
    in_a_url = "key%2Bof%2Fthe%20parrot"
    get(connection, f"/say/{in_a_url}?a[]=1&a[]=2&b={in_a_url}&c=").read()
    say(connection, json.dumps({"words": {"deep": [f"a {KEY}", 1]}}), "application/json")
    say(connection, f"words=hi&key={in_a_url}", FORM)
    say(connection, "[1, 2]", "application/json; charset=utf-8")
    say(connection, "{", "application/json", key="wrong")

    first, *others = parrot.calls
    assert (first.function, first.verb, first.path, first.status) == ("/say/***", "GET", "/say/***", 404)
    assert first.query == [("a[]", "1"), ("a[]", "2"), ("b", "***"), ("c", "")]
    assert [call.fields for call in others] == [
        {"words": {"deep": ["a ***", 1]}},
        {"words": "hi", "key": "***"},
        {},
        {},
    ]
    assert "x-key" in others[0].headers
    assert others[0].user_agent == "test/1"
    assert KEY not in repr(parrot.calls)
    assert in_a_url not in repr(parrot.calls)


def test_the_time_of_a_call_is_the_stand_ins(parrot: Any, connection: http.client.HTTPConnection) -> None:
    parrot.clock = lambda: 17.0
    get(connection).read()

    assert [call.time for call in parrot.calls] == [17.0]
