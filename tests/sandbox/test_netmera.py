"""The Netmera of the sandbox, over HTTP."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from airflow_provider_optimove.sandbox import NetmeraSandbox

BULK = {"eventTypeId": 13, "timeStamp": "2026-11-20 08:04:54", "campaignId": 6577, "channelId": 459}
OF_A_CUSTOMER = {**BULK, "eventTypeId": 11, "customerID": "C0000017", "fields": {"city": "Köln"}}
HEADERS = {"X-netmera-api-key": "sandbox-key", "Content-Type": "application/json"}
PATH = "/rest/optimove/event/sandbox-app-key"

Send = Callable[..., tuple[int, str]]


@pytest.fixture
def netmera() -> Iterator[NetmeraSandbox]:
    with NetmeraSandbox() as running:
        yield running


@pytest.fixture
def send(netmera: NetmeraSandbox) -> Iterator[Send]:
    connection = http.client.HTTPConnection("127.0.0.1", netmera.port, timeout=10)

    def post(
        event: Any, *, verb: str = "POST", path: str = PATH, headers: Mapping[str, str] = HEADERS
    ) -> tuple[int, str]:
        body = event if isinstance(event, bytes) else json.dumps(event)
        connection.request(verb, path, body, dict(headers))
        response = connection.getresponse()
        return response.status, response.read().decode()

    yield post
    connection.close()


def but(**changed: Any) -> dict[str, Any]:
    return {**BULK, **changed}


@pytest.mark.parametrize(
    "event",
    [
        BULK,
        but(eventTypeId=4),
        but(eventTypeId=11),
        OF_A_CUSTOMER,
        but(channelId=481),
        but(timeStamp="2024-02-29 00:00:00"),
    ],
)
def test_events_are_taken_as_they_come(netmera: NetmeraSandbox, send: Send, event: dict[str, Any]) -> None:
    assert send(event) == (200, "")
    assert send(event) == (200, "")
    assert netmera.pushes == [event, event]


@pytest.mark.parametrize(
    ("event", "explanation"),
    [
        (b"{", "the body is not valid JSON"),
        (b"\xff", "the body is not valid JSON"),
        ([BULK], "the body must be a JSON object"),
        *[({name: BULK[name] for name in BULK if name != missing}, f"{missing} is needed") for missing in BULK],
        *[
            (but(**{name: value}), f"{name} must be a whole number")
            for name in ("eventTypeId", "campaignId", "channelId")
            for value in ("13", 13.0, True, None)
        ],
        (but(timeStamp=1_700_000_000), "timeStamp must be a text"),
        *[
            (but(timeStamp=time), "timeStamp must be a time as YYYY-MM-DD HH:MM:SS")
            for time in ("2026-11-20T08:04:54", "2026-11-20 08:04:54Z", "2026-13-20 08:04:54", "2026-11-20 8:04:54", "")
        ],
        (but(eventTypeId=3), "eventTypeId must be 4, 11 or 13, not 3"),
        (but(channelId=504), "channelId must be 459 or 481, not 504"),
        (but(customerID="C1"), "eventTypeId 13 has no further fields: customerID"),
        (but(eventTypeId=4, customerID="C1"), "eventTypeId 4 has no further fields: customerID"),
        ({**BULK, "EventTypeID": 13}, "eventTypeId 13 has no further fields: EventTypeID"),
    ],
)
def test_other_events_are_refused(netmera: NetmeraSandbox, send: Send, event: Any, explanation: str) -> None:
    assert send(event) == (400, explanation)
    assert netmera.pushes == []


@pytest.mark.parametrize(
    ("how", "status"),
    [
        ({"path": "/rest/optimove/event/another-app"}, 401),
        ({"path": "/rest/optimove/event/"}, 401),
        ({"headers": {**HEADERS, "X-netmera-api-key": "wröng".encode().decode("latin-1")}}, 401),
        ({"headers": {"Content-Type": "application/json"}}, 401),
        ({"headers": {**HEADERS, "Content-Type": "text/plain"}}, 415),
        ({"headers": {**HEADERS, "Content-Type": "application/json; charset=utf-8"}}, 200),
        ({"verb": "PUT"}, 405),
        ({"path": PATH + "/more"}, 404),
        ({"path": "/rest/optimove/events/sandbox-app-key"}, 404),
    ],
)
def test_who_may_send_and_where_to(netmera: NetmeraSandbox, send: Send, how: dict[str, Any], status: int) -> None:
    assert send(BULK, **how)[0] == status
    assert len(netmera.pushes) == (status == 200)
    assert [call.status for call in netmera.calls] == [status]


def test_channels_can_be_others(netmera: NetmeraSandbox, send: Send) -> None:
    netmera.channels = (504,)

    assert send(but(channelId=504))[0] == 200
    assert send(BULK) == (400, "channelId must be 504, not 459")


def test_keys_of_ones_own_and_the_connection() -> None:
    with NetmeraSandbox(app_key="my app/1", api_key="my-key") as netmera:
        assert json.loads(netmera.connection) == {
            "conn_type": "netmera",
            "host": netmera.url,
            "login": "my app/1",
            "password": "my-key",
        }
        connection = http.client.HTTPConnection("127.0.0.1", netmera.port, timeout=10)
        headers = {**HEADERS, "X-netmera-api-key": "my-key"}
        connection.request("POST", "/rest/optimove/event/my%20app%2F1", json.dumps(BULK), headers)
        assert connection.getresponse().status == 200
        connection.close()
    (call,) = netmera.calls
    assert (call.function, call.path, call.fields) == ("push_event", "/rest/optimove/event/***", BULK)
    assert "x-netmera-api-key" in call.headers


def test_pushes_that_go_wrong(netmera: NetmeraSandbox, send: Send) -> None:
    netmera.fail("push_event", status=503, headers={"Retry-After": "1"})
    netmera.fail("push_event", drop="after")

    assert send(BULK)[0] == 503
    assert netmera.pushes == []
    with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
        send(BULK)
    assert netmera.pushes == [BULK]
    assert [call.status for call in netmera.calls_of("push_event")] == [503, None]
