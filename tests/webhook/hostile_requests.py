"""Requests that nobody should send, and what each gets. docs/events.md shows this table."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

CONN_ID = "listener_test"
SECRET = "fake-secret-of-the-tests"
OLDER_SECRET = "fake-older-secret-of-tests"
SHORT_SECRET = "fake-short"
OTHERS_SECRET = "fake-secret-of-another-one"
SECRETS = (SECRET, OLDER_SECRET, SHORT_SECRET, OTHERS_SECRET)
CUSTOMER = "fake-customer-17"
CONNECTIONS = {
    CONN_ID: f"{SECRET} {OLDER_SECRET}",
    "short_secret": SHORT_SECRET,
    "no_secret": None,
    "not_heard": OTHERS_SECRET,
}
HEARD = [CONN_ID, "short_secret", "no_secret", "not_there"]

EVENT: dict[str, Any] = {
    "EventTypeID": 13,
    "TimeStamp": "2026-11-20 06:30:00",
    "CampaignID": 6577,
    "ChannelID": 504,
    "customerID": CUSTOMER,
}
PLACE = f"/optimove/events/{CONN_ID}/13"
LARGEST_BODY = 64 * 1024


class Request(NamedTuple):
    """The bytes of a request, and the seconds between them."""

    pieces: Sequence[bytes]
    pause: float = 0


class Row(NamedTuple):
    """What is sent, in words, the status of the answer, and each form of it that is tried."""

    what: str
    status: int
    requests: Sequence[Request]


def request(
    place: str = PLACE,
    query: str = f"token={SECRET}",
    *headers: str,
    method: str = "POST",
    body: bytes | None = None,
    announced: bool = True,
) -> Request:
    content = json.dumps(EVENT).encode() if body is None else body
    lines = [f"{method} {place}?{query} HTTP/1.1", "Host: 127.0.0.1", "Connection: close", *headers]
    if announced:
        lines.append(f"Content-Length: {len(content)}")
    return Request(["\r\n".join([*lines, "", ""]).encode(), content])


def delivery(**changes: Any) -> Request:
    """The event with other fields."""
    return request(body=json.dumps({**EVENT, **changes}).encode())


def bodies(*contents: bytes) -> list[Request]:
    return [request(body=content) for content in contents]


def chunked(content: bytes, *headers: str) -> Request:
    pieces = [content[start : start + 4096] for start in range(0, len(content), 4096)]
    framed = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    whole = request(PLACE, f"token={SECRET}", "Transfer-Encoding: chunked", *headers, body=b"", announced=False)
    return Request([whole.pieces[0], framed + b"0\r\n\r\n"])


DRIBBLED = Request([request(body=b"{" * 40).pieces[0], *[b"{"] * 39], pause=0.5)
TOO_LARGE = json.dumps({**EVENT, "x": "x" * LARGEST_BODY}).encode()
SAY_WHO_ASKS = [
    "X-Forwarded-For: 127.0.0.1",
    "X-Forwarded-Host: localhost",
    "X-Real-IP: 127.0.0.1",
    "Forwarded: for=::1",
]

ROWS = [
    Row(
        "A secret that was guessed",
        403,
        [request(query=f"token={guess}") for guess in ("x", SECRET[:-1], SECRET + "x")],
    ),
    Row("An empty secret, or none", 403, [request(query=query) for query in ("token=", "token", "token=%20", "")]),
    Row(
        "The right secret twice, or beside another",
        403,
        [request(query=f"token={one}&token={other}") for one in (SECRET, "x", "") for other in (SECRET, "x", "")],
    ),
    Row(
        "The right secret in the path, in a header, in the body, or under another name",
        403,
        [
            request(f"/optimove/events/{SECRET}/13", ""),
            *(
                request(PLACE, "", header)
                for header in (
                    f"Authorization: Bearer {SECRET}",
                    f"token: {SECRET}",
                    f"X-API-Key: {SECRET}",
                    f"Cookie: token={SECRET}",
                )
            ),
            request(query="", body=json.dumps({**EVENT, "token": SECRET}).encode()),
            request(query="", body=f"token={SECRET}".encode()),
            *(request(query=f"{name}={SECRET}") for name in ("Token", "secret", "token[]", "x", "token%00")),
            request(query=f";token={SECRET}"),
        ],
    ),
    Row(
        "A secret of less than 16 characters, though the connection has it",
        403,
        [request("/optimove/events/short_secret/13", f"token={SHORT_SECRET}")],
    ),
    Row(
        "A connection that is unknown, not in the setting, or without a secret; the secret of another connection",
        403,
        [
            request("/optimove/events/nobody/13"),
            request("/optimove/events/not_there/13"),
            request("/optimove/events/not_heard/13", f"token={OTHERS_SECRET}"),
            request(query=f"token={OTHERS_SECRET}"),
            request("/optimove/events/no_secret/13", "token="),
            request("/optimove/events/no_secret/13", "token=None"),
        ],
    ),
    Row(
        "Headers that say that a proxy or this machine asks, without the secret",
        403,
        [request(PLACE, "token=x", header) for header in SAY_WHO_ASKS],
    ),
    Row(
        "`..`, `%2e%2e`, `%00` or the name of an asset in place of the connection",
        403,
        [
            request(f"/optimove/events/{name}/13")
            for name in (
                "..",
                "%2e%2e",
                f"../{CONN_ID}",
                f"{CONN_ID}/../{CONN_ID}",
                f"{CONN_ID}%00",
                f"%00{CONN_ID}",
                f"optimove_event/{CONN_ID}/campaign_executed",
                f"optimove:%2f%2fevent%2f{CONN_ID}",
                "%252e%252e",
                CONN_ID.upper(),
            )
        ],
    ),
    Row(
        "Any other path below `/optimove/`: `//`, `/docs`, `/openapi.json`, no event type from 1 to 99, more behind it",
        404,
        [
            request(f"/optimove{path}")
            for path in (
                "/",
                "/docs",
                "/redoc",
                "/openapi.json",
                "/events",
                f"/events/{CONN_ID}",
                f"//events/{CONN_ID}/13",
                f"/events//{CONN_ID}/13/",
                f"/events/{CONN_ID}/13/{SECRET}",
                *(
                    f"/events/{CONN_ID}/{number}"
                    for number in ("0", "100", "013", "-1", "1.0", "x", "campaign_executed")
                ),
                f"/events/{CONN_ID}/13%0a",
                f"/../optimove/x/{CONN_ID}/13",
            )
        ],
    ),
    Row(
        "Another method, whatever the path, also with a header that speaks of POST",
        405,
        [
            *(request(method=method) for method in ("GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")),
            request(PLACE, f"token={SECRET}", "X-HTTP-Method-Override: POST", method="GET"),
            request("/optimove/docs", "", method="GET"),
            request("/optimove/openapi.json", "", method="GET"),
            request(f"{PLACE}/{SECRET}", "", method="GET"),
        ],
    ),
    Row("A body of more than 64 KiB, announced or in chunks", 413, [request(body=TOO_LARGE), chunked(TOO_LARGE)]),
    Row("A body that is not whole after 10 s", 408, [DRIBBLED]),
    Row(
        "Both Content-Length and Transfer-Encoding; two lengths; a length that is none",
        400,
        [
            chunked(json.dumps(EVENT).encode(), "Content-Length: 5"),
            request(PLACE, f"token={SECRET}", "Content-Length: 3"),
            request(PLACE, f"token={SECRET}", "Content-Length: x", announced=False),
        ],
    ),
    Row(
        "No JSON, nothing, NaN, other encodings, 60,000 levels",
        400,
        bodies(
            b"",
            b"x",
            b"{",
            b"CampaignID=1",
            b'{"CampaignID": NaN}',
            b'{"CampaignID": Infinity}',
            b'{"CampaignID": 1, "x": "\xff"}',
            json.dumps(EVENT).encode("utf-16"),
            b'{"CampaignID": 1, "x": ' + b"[" * 60_000,
        ),
    ),
    Row("JSON that is no object: an array, text, a number, null", 400, bodies(b"[]", b"[{}]", b'"x"', b"1", b"null")),
    Row(
        "More than 20 levels, numbers beyond 64 bits, NUL, halves of surrogate pairs, a key twice",
        400,
        bodies(
            b'{"CampaignID": 1, "x": ' + b"[" * 30 + b"]" * 30 + b"}",
            b'{"CampaignID": 1, "x": 9223372036854775808}',
            b'{"CampaignID": 1, "x": 1e999}',
            b'{"CampaignID": 1, "x": "\\u0000"}',
            b'{"CampaignID": 1, "x": "\\ud800"}',
            b'{"CampaignID": 1, "CampaignID": 1}',
        ),
    ),
    Row(
        "A field that is not what the guide says, or is there in two letter cases with two values",
        400,
        [
            *(delivery(CampaignID=value) for value in (True, "x", "1; drop table", -1, 1.5, [6577], {"a": 1}, 2**63)),
            *(delivery(ChannelID=value) for value in ("mail", [504])),
            *(delivery(TimeStamp=value) for value in (0, "today", "2026-02-30 00:00:00")),
            request(f"/optimove/events/{CONN_ID}/11", body=json.dumps({"customerID": {"$ne": CUSTOMER}}).encode()),
            delivery(campaignid=1),
        ],
    ),
    Row(
        "An event without a field that it must have",
        400,
        [
            *(delivery(**{name: value}) for name in ("CampaignID", "ChannelID") for value in (None, "")),
            request(f"/optimove/events/{CONN_ID}/3", body=b"{}"),
            request(f"/optimove/events/{CONN_ID}/5", body=b'{"CampaignID": 6577}'),
            request(f"/optimove/events/{CONN_ID}/11", body=b'{"customerID": ""}'),
        ],
    ),
    Row(
        "An `EventTypeID` that is not that of the URL", 400, [delivery(EventTypeID=value) for value in (4, "4", "x", 0)]
    ),
]


def send(port: int, what: Request) -> tuple[int, str]:
    """Status and text of the answer; status 0 where there is none."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        try:
            for piece in what.pieces:
                connection.sendall(piece)
                time.sleep(what.pause)
        except (BrokenPipeError, ConnectionResetError):
            pass
        answer = b""
        try:
            while more := connection.recv(65536):
                answer += more
        except ConnectionResetError:
            pass
    head, _, text = answer.partition(b"\r\n\r\n")
    words = head.split(b" ", 2)
    return (int(words[1]) if len(words) > 1 else 0), text.decode()
