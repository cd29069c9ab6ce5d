"""The Netmera hook over real HTTP: the connection, and events of Optimove's that are passed on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, Connection

from airflow_provider_optimove import exceptions
from airflow_provider_optimove.assets.optimove import OptimoveEvent
from airflow_provider_optimove.hooks.netmera import NetmeraHook
from airflow_provider_optimove.sandbox import NetmeraSandbox

APP_KEY, API_KEY = "fake-app-key-71c3", "fake-rest-key-93c2"
MOMENT = "2026-11-20 08:04:54"
EXECUTED = {"EventTypeID": 13, "TimeStamp": MOMENT, "CampaignID": 6577, "ChannelID": 459}
# As Optimove's guide has it: no EventTypeID, no campaign.
TRIGGERED = {
    "customerID": "C0000017",
    "isVisitor": False,
    "actionID": 4,
    "channelID": 481,
    "promoCode": None,
    "templateID": 48101,
    "TimeStamp": MOMENT,
    "personalization": {"personalInfo": {"City": "Köln"}},
}


@pytest.fixture
def netmera(monkeypatch: pytest.MonkeyPatch) -> Iterator[NetmeraSandbox]:
    monkeypatch.setattr("airflow_provider_optimove.clients.http.time.sleep", lambda seconds: None)
    with NetmeraSandbox(app_key=APP_KEY, api_key=API_KEY) as running:
        monkeypatch.setenv("AIRFLOW_CONN_NETMERA_DEFAULT", running.connection)
        yield running


def connection(**fields: Any) -> Connection:
    extra = fields.pop("extra", {})
    given = {"conn_id": "mine", "conn_type": "netmera", "login": APP_KEY, "password": API_KEY, **fields}
    return Connection(**given, extra=json.dumps(extra))


def of(payload: Mapping[str, Any], event_type: int | None = None) -> OptimoveEvent:
    return OptimoveEvent.from_payload(payload, event_type)


# The connection


@pytest.mark.parametrize(
    ("fields", "base_url"),
    [
        ({}, "https://restapi.netmera.com"),
        ({"host": ""}, "https://restapi.netmera.com"),
        ({"host": "restapi.example.com", "port": 8443}, "https://restapi.example.com:8443"),
        ({"host": "http://127.0.0.1:8099"}, "http://127.0.0.1:8099"),
    ],
)
def test_address(fields: dict[str, Any], base_url: str) -> None:
    assert NetmeraHook.settings_of(connection(**fields)).http.base_url == base_url


def test_fields_of_the_connection() -> None:
    extra = {"connect_timeout": 5, "read_timeout": "60", "retry_limit": 2, "total_timeout": 120, "verify": False}
    settings = NetmeraHook.settings_of(connection(login=f" {APP_KEY}\n", password=f"{API_KEY} ", extra=extra))
    assert (settings.app_key, settings.api_key) == (APP_KEY, API_KEY)
    http = settings.http
    assert (http.connect_timeout, http.read_timeout, http.retry_limit, http.total_timeout) == (5, 60, 2, 120)
    assert http.verify is False


@pytest.mark.parametrize(
    ("fields", "problems"),
    [
        ({"login": None}, ["login: the app key is missing"]),
        ({"login": " ", "password": ""}, ["login: the app key is missing", "password: the REST API key is missing"]),
        *[
            ({"login": key}, ["login: the app key holds blanks, slashes or other characters no key has"])
            for key in (
                ".",
                "..",
                "a/b",
                "/",
                "a\\b",
                "a?b",
                "a#b",
                "a%2Fb",
                "two words",
                "a\nb",
                "schlüssel",
                "a\x00b",
            )
        ],
        *[
            ({"password": key}, ["password: the REST API key holds blanks, line breaks or other characters no key has"])
            for key in ("two words", "a\nX-Injected: b", "schlüssel", "a\tb")
        ],
        (
            {"host": "https://restapi.netmera.com/rest"},
            ["host: expected no path; the path with the app key is put behind"],
        ),
        ({"host": "http://restapi.netmera.com"}, ["host: plain http would send the credentials unencrypted"]),
        ({"extra": {"read_timeout": "soon"}}, ["extra read_timeout: "]),
    ],
)
def test_a_bad_field_is_named_and_no_key_shown(fields: dict[str, Any], problems: list[str]) -> None:
    with pytest.raises(exceptions.OptimoveInputError, match="connection mine is not valid") as caught:
        NetmeraHook.settings_of(connection(**fields))
    assert len(caught.value.problems) == len(problems)
    for found, expected in zip(caught.value.problems, problems, strict=True):
        assert found.startswith(expected)
    for key in (APP_KEY, API_KEY, "two words", "schlüssel", "Injected", "2Fb"):
        assert key not in str(caught.value)


@pytest.mark.parametrize("key", ["fake-app_key.1~2", "a+b=", "a&b;c", "a.b", "..."])
def test_app_keys_arrive_as_they_are(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    with NetmeraSandbox(app_key=key, api_key=API_KEY) as netmera:
        monkeypatch.setenv("AIRFLOW_CONN_NETMERA_DEFAULT", netmera.connection)
        NetmeraHook().push_event(13, 6577, 459, MOMENT)
        assert len(netmera.pushes) == 1


def test_blanks_around_keys_are_left_out() -> None:
    settings = NetmeraHook.settings_of(connection(login=f" {APP_KEY}\n", password=f"{API_KEY} \n"))
    assert (settings.app_key, settings.api_key) == (APP_KEY, API_KEY)


def test_nothing_is_read_before_the_first_call() -> None:
    hook = NetmeraHook("no_such_connection")
    assert hook.netmera_conn_id == "no_such_connection"


# Pushing


def test_an_event_is_pushed(netmera: NetmeraSandbox) -> None:
    hook = NetmeraHook()
    assert hook.get_conn() is hook.client
    pushed = hook.push_event("single", "6577", "459", MOMENT, {"customerID": "C0000017"})
    sent = {"eventTypeId": 11, "timeStamp": MOMENT, "campaignId": 6577, "channelId": 459}
    assert netmera.pushes == [{**sent, "customerID": "C0000017"}]
    assert pushed == {"event_type": 11, "campaign_id": 6577, "channel_id": 459, "timestamp": MOMENT}


@pytest.mark.parametrize(
    ("fault", "ends_the_task"),
    [
        *[({"status": status}, True) for status in (400, 401, 403, 404, 500, 503)],
        ({"drop": "after"}, True),
        ({"status": 429}, False),
        ({"status": 302}, False),
    ],
)
def test_errors_that_a_retry_cannot_mend_end_the_task(
    netmera: NetmeraSandbox, fault: dict[str, Any], ends_the_task: bool
) -> None:
    netmera.fail("push_event", times=None, **fault)
    with pytest.raises(exceptions.NetmeraError) as caught:
        NetmeraHook().push_event(13, 6577, 459)
    assert isinstance(caught.value, AirflowFailException) is ends_the_task
    assert (caught.value.function, caught.value.status) == ("push_event", fault.get("status"))


def test_bad_input_ends_the_task(netmera: NetmeraSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_WITHOUT_KEYS", json.dumps({"conn_type": "netmera"}))
    calls: list[Callable[[], object]] = [
        lambda: NetmeraHook().push_event(12, 6577, 459),
        lambda: NetmeraHook().push_optimove_event(of({**EXECUTED, "EventTypeID": 3})),
        lambda: NetmeraHook("without_keys").push_event(13, 6577, 459),
    ]
    for call in calls:
        with pytest.raises(exceptions.OptimoveInputError) as caught:
            call()
        assert isinstance(caught.value, AirflowFailException)
    assert netmera.calls == []


# Events of Optimove's


def test_an_executed_campaign_is_pushed(netmera: NetmeraSandbox) -> None:
    pushed = NetmeraHook().push_optimove_event(of({**EXECUTED, "Extra": "stays here"}))
    assert netmera.pushes == [{"eventTypeId": 13, "timeStamp": MOMENT, "campaignId": 6577, "channelId": 459}]
    assert pushed == {"event_type": 13, "campaign_id": 6577, "channel_id": 459, "timestamp": MOMENT}


def test_an_event_in_another_form_is_the_same(netmera: NetmeraSandbox) -> None:
    payload = {"eventTypeId": "13", "timestamp": "2026-11-20T10:04:54+02:00", "CAMPAIGNID": "6577", "channelId": "459"}
    NetmeraHook().push_optimove_event(of(payload))
    assert netmera.pushes == [{"eventTypeId": 13, "timeStamp": MOMENT, "campaignId": 6577, "channelId": 459}]


def test_a_cancelled_campaign_needs_a_channel(netmera: NetmeraSandbox) -> None:
    event = of({"EventTypeID": 4, "TimeStamp": MOMENT, "CampaignID": 6577})
    with pytest.raises(exceptions.OptimoveInputError, match="channel_id: the event names none"):
        NetmeraHook().push_optimove_event(event)
    NetmeraHook().push_optimove_event(event, channel_id="481")
    assert netmera.pushes == [{"eventTypeId": 4, "timeStamp": MOMENT, "campaignId": 6577, "channelId": 481}]


@pytest.mark.parametrize("event_type", [None, 11])
def test_everything_of_a_single_event_goes_along(netmera: NetmeraSandbox, event_type: int | None) -> None:
    event = of(TRIGGERED, event_type)
    with pytest.raises(exceptions.OptimoveInputError, match="campaign_id: the event names none"):
        NetmeraHook().push_optimove_event(event)
    pushed = NetmeraHook().push_optimove_event(event, campaign_id=6577)
    four = {"eventTypeId": 11, "timeStamp": MOMENT, "campaignId": 6577, "channelId": 481}
    others = {name: value for name, value in TRIGGERED.items() if name not in ("channelID", "TimeStamp")}
    assert netmera.pushes == [{**four, **others}]
    assert "C0000017" not in json.dumps(pushed)


def test_a_single_event_that_names_its_campaign(netmera: NetmeraSandbox) -> None:
    NetmeraHook().push_optimove_event(of({**TRIGGERED, "EventTypeID": 11, "campaignId": "6577", "New": [1]}))
    (push,) = netmera.pushes
    assert (push["campaignId"], push["New"]) == (6577, [1])
    assert {"EventTypeID", "channelID", "TimeStamp"} & set(push) == set()


def test_an_event_without_a_time_is_of_now(netmera: NetmeraSandbox) -> None:
    pushed = NetmeraHook().push_optimove_event(of({**EXECUTED, "TimeStamp": None}))
    assert netmera.pushes[0]["timeStamp"] == pushed["timestamp"] > "2026"


@pytest.mark.parametrize(
    ("payload", "given", "problems"),
    [
        *[
            ({**EXECUTED, "EventTypeID": number}, {}, [f"11 (single), 13 (bulk); this event is {number}"])
            for number in (1, 2, 3, 5, 12, 99)
        ],
        (
            {"CampaignID": 6577, "ChannelID": 459},
            {},
            ["4 (cancelled), 11 (single), 13 (bulk); this event is of no known"],
        ),
        ({**EXECUTED, "ChannelID": None}, {}, ["channel_id: the event names none; give the one that it is about"]),
        (
            {"EventTypeID": 13},
            {},
            ["campaign_id: the event names none", "channel_id: the event names none"],
        ),
        (EXECUTED, {"channel_id": 481}, ["channel_id: the event names 459, not 481"]),
        (EXECUTED, {"campaign_id": "1", "channel_id": "459"}, ["campaign_id: the event names 6577, not 1"]),
        (
            {**EXECUTED, "CampaignID": "ada@example.com", "TimeStamp": "ada"},
            {},
            ["TimeStamp: expected a time", "CampaignID: expected a whole number of 0 or more, got other text"],
        ),
    ],
)
def test_what_cannot_be_pushed_is_told(
    netmera: NetmeraSandbox, payload: dict[str, Any], given: dict[str, Any], problems: list[str]
) -> None:
    with pytest.raises(exceptions.OptimoveInputError, match="the event cannot be pushed") as caught:
        NetmeraHook().push_optimove_event(of(payload), **given)
    assert len(caught.value.problems) == len(problems)
    for found, expected in zip(caught.value.problems, problems, strict=True):
        assert expected in found
    assert "ada" not in str(caught.value)
    assert netmera.calls == []


# The test of the connection


def test_connection_test_tells_what_it_knows(netmera: NetmeraSandbox) -> None:
    ok, message = NetmeraHook().test_connection()
    assert ok
    assert message == (
        f"127.0.0.1:{netmera.port} answers; HTTP 404 to a call without keys. Whether that is Netmera, and whether the"
        " keys are right, the first event will show: Netmera has no call that pushes nothing"
    )
    assert netmera.pushes == []
    assert ["x-netmera-api-key" in call.headers for call in netmera.calls] == [False]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"login": ""}, "login: the app key is missing"),
        ({"password": "two words"}, "password: the REST API key holds blanks"),
        ({"host": "http://127.0.0.1:9"}, "127.0.0.1:9: cannot be reached: is the host right"),
        ({"host": "http://192.0.2.1"}, "plain http"),
    ],
)
def test_connection_test_says_why_not(
    netmera: NetmeraSandbox, monkeypatch: pytest.MonkeyPatch, change: dict[str, str], words: str
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_NETMERA_DEFAULT", json.dumps({**json.loads(netmera.connection), **change}))
    ok, message = NetmeraHook().test_connection()
    assert not ok
    assert words in message
    assert [key for key in (APP_KEY, API_KEY) if key in message] == []
    assert netmera.calls == []


def test_connection_that_does_not_exist() -> None:
    ok, message = NetmeraHook("no_such_connection").test_connection()
    assert not ok
    assert "no_such_connection" in message
