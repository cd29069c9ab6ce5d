"""The Netmera client over real HTTP: what is sent, what an answer means, and what must not be seen."""

from __future__ import annotations

import datetime
import json
import logging
import re
import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

import pendulum
import pytest

from airflow_provider_optimove.clients.http import HttpSettings
from airflow_provider_optimove.clients.netmera import NetmeraClient, NetmeraSettings, checked_event
from airflow_provider_optimove.exceptions import NetmeraError, OptimoveInputError
from airflow_provider_optimove.sandbox import NetmeraSandbox

if TYPE_CHECKING:
    from tests.clients.conftest import Clock, LocalServers

# Both have forms of their own in URLs, in JSON and in HTML.
APP_KEY = "fake&app/key+'tests'=~71c3"
API_KEY = 'fake/rest"key&tests+93c2='
EVENT: dict[str, Any] = {
    "eventTypeId": 13,
    "timeStamp": "2026-11-20 08:04:54",
    "campaignId": 6577,
    "channelId": 459,
}
OF_A_CUSTOMER: dict[str, Any] = {
    "customerID": "C0000017",
    "isVisitor": False,
    "actionID": 4,
    "promoCode": None,
    "templateID": 45901,
    "personalization": {"personalInfo": {"City": "Köln"}, "purchase": {"amounts": [1.5, 2]}},
}
MOMENT = "2026-11-20 08:04:54"


@pytest.fixture
def netmera() -> Iterator[NetmeraSandbox]:
    with NetmeraSandbox(app_key=APP_KEY, api_key=API_KEY) as running:
        yield running


def client_of(url: str, **http: Any) -> NetmeraClient:
    return NetmeraClient(NetmeraSettings(HttpSettings(url, **http), app_key=APP_KEY, api_key=API_KEY))


@pytest.fixture
def client(netmera: NetmeraSandbox, clock: Clock) -> Iterator[NetmeraClient]:
    with client_of(netmera.url) as made:
        yield made


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


# What is sent


@pytest.mark.parametrize(
    ("event_type", "number"),
    [
        *[(number, number) for number in (4, 11, 13)],
        *[(str(number), number) for number in (4, 11, 13)],
        *[("cancelled", 4), ("single", 11), ("bulk", 13), ("BULK", 13), (" Single ", 11)],
    ],
)
@pytest.mark.parametrize("channel", [459, 481])
def test_an_event_has_exactly_the_documented_fields(
    netmera: NetmeraSandbox, client: NetmeraClient, event_type: Any, number: int, channel: int
) -> None:
    pushed = client.push_event(event_type, 6577, channel, MOMENT)
    assert netmera.pushes == [{**EVENT, "eventTypeId": number, "channelId": channel}]
    assert pushed == {"event_type": number, "campaign_id": 6577, "channel_id": channel, "timestamp": MOMENT}
    (call,) = netmera.calls
    assert (call.verb, call.path) == ("POST", "/rest/optimove/event/***")
    assert {"x-netmera-api-key", "content-type"} <= call.headers
    assert call.user_agent.startswith("airflow-provider-optimove/")


def test_ids_may_be_text(netmera: NetmeraSandbox, client: NetmeraClient) -> None:
    client.push_event("13", " 6577 ", "459", MOMENT)
    assert netmera.pushes == [EVENT]


@pytest.mark.parametrize(
    "timestamp",
    [
        MOMENT,
        "2026-11-20T08:04:54",
        "2026-11-20T08:04:54Z",
        "2026-11-20T10:04:54.75+02:00",
        datetime.datetime(2026, 11, 20, 8, 4, 54),
        datetime.datetime(2026, 11, 20, 8, 4, 54, 750_000, tzinfo=datetime.UTC),
        datetime.datetime(2026, 11, 20, 11, 4, 54, tzinfo=ZoneInfo("Europe/Istanbul")),
        pendulum.datetime(2026, 11, 20, 3, 4, 54, tz="America/New_York"),
    ],
)
def test_times_are_sent_in_utc(netmera: NetmeraSandbox, client: NetmeraClient, timestamp: Any) -> None:
    assert client.push_event(13, 6577, 459, timestamp)["timestamp"] == MOMENT
    assert netmera.pushes == [EVENT]


def test_without_a_time_it_is_now(netmera: NetmeraSandbox, client: NetmeraClient) -> None:
    before = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    client.push_event(13, 6577, 459)
    (push,) = netmera.pushes
    sent = datetime.datetime.fromisoformat(push["timeStamp"]).replace(tzinfo=datetime.UTC)
    assert before <= sent <= datetime.datetime.now(datetime.UTC)


def test_the_customers_fields_of_a_single_event_go_along(netmera: NetmeraSandbox, client: NetmeraClient) -> None:
    pushed = client.push_event("single", 6577, 481, MOMENT, OF_A_CUSTOMER)
    (push,) = netmera.pushes
    assert push == {**EVENT, "eventTypeId": 11, "channelId": 481, **OF_A_CUSTOMER}
    assert list(push) == [*EVENT, *OF_A_CUSTOMER]
    assert set(pushed) == {"event_type", "campaign_id", "channel_id", "timestamp"}


def test_no_further_fields_are_none(netmera: NetmeraSandbox, client: NetmeraClient) -> None:
    client.push_event(13, 6577, 459, MOMENT, {})
    assert netmera.pushes == [EVENT]


def test_an_unknown_channel_is_sent_with_a_warning(
    netmera: NetmeraSandbox, client: NetmeraClient, caplog: pytest.LogCaptureFixture
) -> None:
    netmera.channels = (459, 7001)
    client.push_event(13, 6577, 459)
    assert warnings_in(caplog) == []
    client.push_event(13, 6577, 7001)
    assert [push["channelId"] for push in netmera.pushes] == [459, 7001]
    (warning,) = warnings_in(caplog)
    assert "channel 7001 is none of those documented for Netmera, 459 and 481" in warning


# Arguments that are not valid


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        *[
            (
                {"event_type": value},
                f"event_type: expected 4 or 'cancelled', 11 or 'single', 13 or 'bulk'; got {value!r}",
            )
            for value in (1, 5, 0, -13, "14", "13.0", 13.0, True, "executed", "")
        ],
        (
            {"event_type": None},
            "event_type: expected 4 or 'cancelled', 11 or 'single', 13 or 'bulk'; got NoneType None",
        ),
        *[
            ({name: value}, f"{name}: expected a whole number of 0 or more, got {shown}")
            for name in ("campaign_id", "channel_id")
            for value, shown in ((None, "NoneType None"), ("x", "'x'"), (-1, "-1"), (1.0, "1.0"), (True, "True"))
        ],
        *[
            ({"timestamp": value}, "timestamp: expected a date and time, YYYY-MM-DD HH:MM:SS in UTC, got ")
            for value in ("2026-11-20", "", "now", 1_700_000_000, datetime.date(2026, 11, 20), "2026-13-20 08:04:54")
        ],
        ({"event_type": 13, "additional_fields": {"customerID": "C1"}}, "additional_fields: only event 11 ('single')"),
        ({"event_type": "cancelled", "additional_fields": {"customerID": "C1"}}, "and this is 4"),
        *[
            ({"additional_fields": {name: 1}}, f"additional_fields: {name!r} is an argument of its own")
            for name in (*EVENT, "EventTypeID", "TimeStamp", "CAMPAIGNID", "channelID")
        ],
        ({"additional_fields": {1: "x"}}, "additional_fields: expected text as a name, got 1"),
        *[
            ({"additional_fields": {"secretive": value}}, "additional_fields: 'secretive' holds what JSON cannot")
            for value in (float("nan"), {1, 2}, datetime.date(2026, 11, 20), "half \ud800 a pair", [b"x"])
        ],
        (
            {"additional_fields": "{'customerID': 'C1'}"},
            "additional_fields: expected an object with values by name, got",
        ),
        ({"additional_fields": [("customerID", "C1")]}, "expected an object with values by name, got list"),
    ],
)
def test_a_bad_argument_is_named_before_anything_is_sent(
    netmera: NetmeraSandbox, client: NetmeraClient, arguments: dict[str, Any], problem: str
) -> None:
    given: dict[str, Any] = {"event_type": 11, "campaign_id": 6577, "channel_id": 459, **arguments}
    with pytest.raises(OptimoveInputError) as caught:
        client.push_event(**given)
    assert problem in str(caught.value)
    assert (caught.value.function, len(caught.value.problems)) == ("push_event", 1)
    assert netmera.calls == []


def test_all_problems_are_in_one_error_and_no_customers_data() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(OptimoveInputError) as caught:
        checked_event(7, "x", None, "soon", {"customerID": float("inf"), "deep": deep, "mail": {"ada@example.com"}})  # type: ignore[arg-type]
    named = [problem.split(": ")[0] for problem in caught.value.problems]
    assert named == ["event_type", "timestamp", "campaign_id", "channel_id", *["additional_fields"] * 3]
    assert "ada@example.com" not in str(caught.value)


# What an answer means


@pytest.mark.parametrize("status", [200, 201, 202, 204])
@pytest.mark.parametrize("body", [b"", b"null", b'{"error":"x"}', b"OK", b"\xff\x00"])
def test_any_2xx_is_success(
    netmera: NetmeraSandbox,
    client: NetmeraClient,
    caplog: pytest.LogCaptureFixture,
    status: int,
    body: bytes,
) -> None:
    netmera.fail("push_event", status=status, body=b"" if status == 204 else body, takes_effect=True, times=None)
    for _ in range(2):
        assert client.push_event(13, 6577, 459, MOMENT)["event_type"] == 13
    assert netmera.pushes == [EVENT, EVENT]
    assert warnings_in(caplog) == []


def test_a_page_on_a_200_is_a_success_with_a_warning(
    netmera: NetmeraSandbox, client: NetmeraClient, caplog: pytest.LogCaptureFixture
) -> None:
    netmera.fail("push_event", body="<html><body>Checking your browser</body></html>", content_type="text/html")
    assert client.push_event(13, 6577, 459, MOMENT)["campaign_id"] == 6577
    (warning,) = warnings_in(caplog)
    assert "HTTP 200 came with an HTML page" in warning


def test_the_rest_of_a_200_does_not_matter(serve: LocalServers, clock: Clock) -> None:
    server = serve(serve.truncated(b'{"ok":', promised=100), serve.dribbling(pause=5, pieces=1000, piece=b"x" * 10))
    with client_of(server.url, retry_limit=0) as client:
        client.push_event(13, 6577, 459)
        client.push_event(13, 6577, 459)
    assert len(server.received) == 2


@pytest.mark.parametrize("status", [200, 201, 202])
@pytest.mark.parametrize("headers", ["Content-Length: 10", "Content-Length: 1\r\nContent-Encoding: gzip"])
def test_a_2xx_whose_body_does_not_come_is_a_success(
    serve: LocalServers, caplog: pytest.LogCaptureFixture, status: int, headers: str
) -> None:
    def bodiless(connection: socket.socket) -> None:
        connection.sendall(f"HTTP/1.1 {status} OK\r\n{headers}\r\n\r\n".encode() + b"?" * ("gzip" in headers))
        raise ConnectionError

    server = serve(bodiless)
    with client_of(server.url) as client:
        assert client.push_event(13, 6577, 459, MOMENT)["event_type"] == 13
    assert len(server.received) == 1
    assert warnings_in(caplog) == []


def test_a_single_event_without_a_customer_is_warned_of(
    netmera: NetmeraSandbox, client: NetmeraClient, caplog: pytest.LogCaptureFixture
) -> None:
    client.push_event(11, 6577, 459, MOMENT, OF_A_CUSTOMER)
    client.push_event(13, 6577, 459, MOMENT)
    assert warnings_in(caplog) == []
    client.push_event(11, 6577, 459, MOMENT)
    assert warnings_in(caplog) == ["push_event: event 11 has no additional fields, so that it names no customer"]
    assert len(netmera.pushes) == 3


def test_a_refusal_does_not_settle_an_earlier_attempt(
    netmera: NetmeraSandbox, client: NetmeraClient, clock: Clock
) -> None:
    netmera.fail("push_event", status=503, takes_effect=True)
    netmera.fail("push_event", status=400, body="no")
    with pytest.raises(NetmeraError, match=r"no \(tried 2 times\)") as caught:
        client.send(checked_event(13, 6577, 459), again=True)
    assert caught.value.may_have_happened
    assert len(netmera.pushes) == 1


def test_an_answer_that_leads_elsewhere_leaves_it_in_doubt(netmera: NetmeraSandbox, client: NetmeraClient) -> None:
    netmera.fail("push_event", status=303, headers={"Location": netmera.url}, takes_effect=True)
    with pytest.raises(NetmeraError, match="which is not followed") as caught:
        client.push_event(13, 6577, 459)
    assert (caught.value.permanent, caught.value.may_have_happened, len(netmera.calls)) == (True, True, 1)


def test_a_failed_look_takes_no_effect(serve: LocalServers, clock: Clock) -> None:
    with client_of(serve(serve.answering(503)).url) as client, pytest.raises(NetmeraError) as caught:
        client.reach()
    assert not caught.value.may_have_happened


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (400, "campaignId is not known", "campaignId is not known (HTTP 400)"),
        (400, '{"message":"bad channel"}', "bad channel (HTTP 400)"),
        (401, "", "the credentials are not accepted: Unauthorized (HTTP 401)"),
        (
            403,
            "<html><body>Blocked</body></html>",
            "not permitted: Blocked [an HTML page: a firewall or proxy may have",
        ),
        (
            404,
            "",
            "no such address, or nothing there: Not Found (are the connection's host and app key right?) (HTTP 404)",
        ),
        (405, "POST, please", "POST, please (HTTP 405)"),
        (415, "", "Unsupported Media Type (HTTP 415)"),
    ],
)
def test_a_refusal_is_final_and_nothing_was_pushed(
    netmera: NetmeraSandbox, client: NetmeraClient, status: int, body: str, said: str
) -> None:
    netmera.fail("push_event", status=status, body=body, times=None)
    with pytest.raises(NetmeraError) as caught:
        client.push_event(13, 6577, 459)
    error = caught.value
    assert str(error).startswith("push_event: ")
    assert said in str(error)
    assert ("app key right?" in str(error)) == (status == 404)
    assert "campaign 6577" not in str(error)
    assert (error.status, error.permanent, error.may_have_happened) == (status, True, False)
    assert (len(netmera.calls), netmera.pushes, client.may_have_happened) == (1, [], False)


@pytest.mark.parametrize(("app_key", "api_key"), [("another", API_KEY), (APP_KEY, "another")])
def test_wrong_keys(netmera: NetmeraSandbox, app_key: str, api_key: str) -> None:
    wrong = NetmeraClient(NetmeraSettings(HttpSettings(netmera.url), app_key=app_key, api_key=api_key))
    with wrong as client, pytest.raises(NetmeraError, match="the credentials are not accepted") as caught:
        client.push_event(13, 6577, 459)
    assert (caught.value.status, caught.value.permanent) == (401, True)


def test_too_many_calls_are_waited_for(netmera: NetmeraSandbox, client: NetmeraClient, clock: Clock) -> None:
    netmera.fail("push_event", status=429, headers={"Retry-After": "7"}, times=2)
    client.push_event(13, 6577, 459, MOMENT)
    assert netmera.pushes == [EVENT]
    assert clock.naps == [7.0, 7.0]


def test_too_many_calls_that_do_not_end_leave_nothing_in_doubt(netmera: NetmeraSandbox, client: NetmeraClient) -> None:
    netmera.fail("push_event", status=429, body="Slow down", times=None)
    with pytest.raises(NetmeraError, match=r"too many calls: Slow down \(tried 5 times\)") as caught:
        client.push_event(13, 6577, 459)
    assert (caught.value.permanent, caught.value.may_have_happened, netmera.pushes) == (False, False, [])


def test_a_connection_that_was_never_made_is_tried_again(serve: LocalServers, clock: Clock) -> None:
    with client_of(serve.refusing_url(), retry_limit=2) as client, pytest.raises(NetmeraError) as caught:
        client.push_event(13, 6577, 459)
    assert "(tried 3 times)" in str(caught.value)
    assert (caught.value.status, caught.value.permanent, caught.value.may_have_happened) == (None, False, False)
    assert len(clock.naps) == 2


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(
    netmera: NetmeraSandbox, client: NetmeraClient, serve: LocalServers, status: int
) -> None:
    elsewhere = serve()
    netmera.fail("push_event", status=status, headers={"Location": f"{elsewhere.url}/{quote(APP_KEY)}?k={API_KEY}"})
    with pytest.raises(NetmeraError, match="which is not followed") as caught:
        client.push_event(13, 6577, 459)
    assert elsewhere.received == []
    assert (len(netmera.calls), caught.value.may_have_happened) == (1, False)


@pytest.mark.parametrize(
    ("fault", "arrived"),
    [
        ({"status": 500, "body": "boom"}, 0),
        ({"status": 503, "headers": {"Retry-After": "1"}}, 0),
        ({"status": 502, "body": "<html>Bad Gateway</html>", "takes_effect": True}, 1),
        ({"drop": "before"}, 0),
        ({"drop": "after"}, 1),
    ],
)
def test_what_may_have_happened_is_never_sent_again(
    netmera: NetmeraSandbox, client: NetmeraClient, fault: dict[str, Any], arrived: int
) -> None:
    netmera.fail("push_event", **fault)
    with pytest.raises(NetmeraError, match="it was not sent again because a second one may push twice") as caught:
        client.push_event(13, 6577, 459)
    assert (caught.value.permanent, caught.value.may_have_happened) == (True, True)
    assert "(it was event 13 of campaign 6577 on channel 459, 20" in str(caught.value)
    assert client.may_have_happened
    assert (len(netmera.calls), len(netmera.pushes)) == (1, arrived)


@pytest.mark.parametrize("reply", ["silent", "reset"])
def test_an_answer_that_does_not_come_leaves_it_in_doubt(serve: LocalServers, clock: Clock, reply: str) -> None:
    replies = {"silent": serve.silent(5), "reset": serve.reset}
    server = serve(replies[reply])
    with client_of(server.url, read_timeout=0.5) as client, pytest.raises(NetmeraError) as caught:
        client.push_event(13, 6577, 459)
    assert (caught.value.permanent, caught.value.may_have_happened) == (True, True)
    assert len(server.received) == 1


# What must not be seen


def forms_of(secret: str) -> set[str]:
    """A secret as it may stand somewhere."""
    encoded = {quote(secret), quote(secret, safe="")}
    lower = {re.sub("%..", lambda escape: escape[0].lower(), form) for form in encoded}
    return {secret, *encoded, *lower, json.dumps(secret)[1:-1], secret.replace("&", "&amp;").replace('"', "&quot;")}


SECRETS = forms_of(APP_KEY) | forms_of(API_KEY)


def everything_of(error: BaseException) -> str:
    texts, seen = [], set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        current = waiting.pop()
        if current is not None and id(current) not in seen:
            seen.add(id(current))
            texts += [str(current), repr(current), repr(current.args), repr(vars(current))]
            waiting += [current.__cause__, current.__context__]
    return "\n".join(texts)


@pytest.mark.parametrize(
    "fault",
    [
        {},
        *[{"status": status, "body": "no: " + "; ".join(sorted(SECRETS))} for status in (400, 401, 403, 404, 500)],
        {"status": 429, "body": json.dumps({"error": f"{APP_KEY} {API_KEY}"})},
        {"status": 400, "body": f"<html><body>{APP_KEY.replace('&', '&amp;')}</body></html>"},
        {"status": 302, "headers": {"Location": f"/rest/optimove/event/{quote(APP_KEY, safe='')}/x?key={API_KEY}"}},
        {"status": 500, "reason": f"No {API_KEY}"},
        {"drop": "after"},
        {"body": f"<html>{APP_KEY} {API_KEY}</html>"},
    ],
)
def test_keys_are_in_no_log_and_no_error(
    netmera: NetmeraSandbox, client: NetmeraClient, caplog: pytest.LogCaptureFixture, fault: dict[str, Any]
) -> None:
    caplog.set_level(logging.DEBUG)
    if fault:
        netmera.fail("push_event", **fault)
    seen = repr(client) + repr(client.settings)
    try:
        seen += repr(client.push_event(13, 6577, 7001 if not fault else 459))
    except NetmeraError as error:
        seen += everything_of(error)
    seen += "\n".join(f"{record.name} {record.getMessage()} {record.args}" for record in caplog.records)
    assert "urllib3.connectionpool" in seen
    assert "rest/optimove/event/{app_key}" in seen
    assert {secret for secret in SECRETS if secret in seen} == set()


def test_keys_are_not_seen_where_no_connection_is_made(
    serve: LocalServers, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with client_of(serve.refusing_url(), retry_limit=1) as client, pytest.raises(NetmeraError) as caught:
        client.push_event(13, 6577, 459)
    seen = everything_of(caught.value) + caplog.text
    assert "trying push_event again" in seen
    assert {secret for secret in SECRETS if secret in seen} == set()


def test_customers_are_in_no_log(
    netmera: NetmeraSandbox, client: NetmeraClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    client.push_event(11, 6577, 459, MOMENT, OF_A_CUSTOMER)
    netmera.fail("push_event", drop="after")
    with pytest.raises(NetmeraError) as caught:
        client.push_event(11, 6577, 459, MOMENT, OF_A_CUSTOMER)
    assert len(netmera.pushes) == 2
    assert OF_A_CUSTOMER["customerID"] not in "".join(f"{r.getMessage()} {r.args}" for r in caplog.records)
    assert OF_A_CUSTOMER["customerID"] not in str(caught.value)


def test_apps_are_told_apart_without_their_keys() -> None:
    def account(url: str, app_key: str) -> tuple[str, str]:
        return NetmeraClient(NetmeraSettings(HttpSettings(url), app_key=app_key, api_key=API_KEY)).account

    one = account("https://a.example", APP_KEY)
    assert one == account("https://a.example", APP_KEY)
    assert len({one, account("https://b.example", APP_KEY), account("https://a.example", "another")}) == 3
    assert APP_KEY not in repr(one)


# Whether there is anybody


def test_reaching_sends_no_key_and_pushes_nothing(netmera: NetmeraSandbox, client: NetmeraClient) -> None:
    assert client.reach() == 404
    (call,) = netmera.calls
    assert (call.verb, call.path, netmera.pushes) == ("GET", "/", [])
    assert "x-netmera-api-key" not in call.headers


@pytest.mark.parametrize(("status", "is_one"), [(200, True), (302, True), (401, True), (500, False), (503, False)])
def test_whoever_answers_is_there_unless_it_fails(serve: LocalServers, clock: Clock, status: int, is_one: bool) -> None:
    with client_of(serve(serve.answering(status)).url, retry_limit=0) as client:
        if is_one:
            assert client.reach() == status
        else:
            with pytest.raises(NetmeraError, match="the server failed"):
                client.reach()
