"""Events that the sandbox posts: what they hold, who gets them, what is told of how it went."""

from __future__ import annotations

import contextlib
import datetime
import http.client
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from airflow_provider_optimove.sandbox import Delivery, OptimoveSandbox
from airflow_provider_optimove.sandbox.account import Listener
from airflow_provider_optimove.sandbox.world import Campaign, customer_id

TODAY = datetime.date(2026, 11, 20)
TOKEN = "fake-token-of-tests"


class Hearing:
    """A listener on this machine, and what it got."""

    def __init__(self, server: ThreadingHTTPServer) -> None:
        self.url = f"http://127.0.0.1:{server.server_port}"
        self.paths: list[str] = []
        self.types: list[str | None] = []
        self.events: list[dict[str, Any]] = []
        self.answers: list[tuple[int, bytes]] = []


@pytest.fixture
def hearing() -> Iterator[Hearing]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.paths.append(self.path)
            heard.types.append(self.headers["Content-Type"])
            heard.events.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            status, text = heard.answers.pop(0) if heard.answers else (200, b"recorded")
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        heard = Hearing(server)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield heard
        server.shutdown()
        thread.join()


def register(sandbox: OptimoveSandbox, hearing: Hearing, event_type: int, channel: int | None = None) -> None:
    url = f"{hearing.url}/{event_type}/{channel or 'every'}?token={TOKEN}"
    sandbox.listeners.append(Listener(event_type, channel, url))


def fired(sandbox: OptimoveSandbox, hearing: Hearing, event_type: int, **what: Any) -> dict[str, Any]:
    """What a listener of all channels gets."""
    register(sandbox, hearing, event_type)
    (delivery,) = sandbox.fire_event(event_type, **what)
    assert delivery.status == 200
    return hearing.events[-1]


def campaigns(sandbox: OptimoveSandbox, date: datetime.date = TODAY) -> list[Campaign]:
    return list(sandbox.world.campaigns(date))


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


# What they hold


@pytest.mark.parametrize(
    ("event_type", "fields"),
    [
        (1, ["EventTypeID", "TimeStamp", "CampaignID"]),
        (2, ["EventTypeID", "TimeStamp"]),
        (3, ["EventTypeID", "TimeStamp", "UpdateDate"]),
        (4, ["EventTypeID", "TimeStamp", "CampaignID"]),
        (5, ["EventTypeID", "TimeStamp", "CampaignID", "CampaignDuration", "ClearanceRequiredBy"]),
        (13, ["EventTypeID", "TimeStamp", "CampaignID", "ChannelID"]),
        (6, ["EventTypeID", "TimeStamp"]),
    ],
)
def test_an_event_holds_what_the_documents_show(
    sandbox: OptimoveSandbox, hearing: Hearing, event_type: int, fields: list[str]
) -> None:
    event = fired(sandbox, hearing, event_type)
    assert list(event) == fields
    assert event["EventTypeID"] == event_type
    assert datetime.datetime.strptime(event["TimeStamp"], "%Y-%m-%d %H:%M:%S").date() == TODAY
    assert hearing.paths == [f"/{event_type}/every?token={TOKEN}"]
    assert hearing.types == ["application/json; charset=utf-8"]


def test_a_triggered_campaign_is_about_one_customer_after_the_other(sandbox: OptimoveSandbox, hearing: Hearing) -> None:
    (campaign,) = (campaign for campaign in campaigns(sandbox) if campaign.kind.realtime)
    members = sandbox.world.members(campaign)
    event = fired(sandbox, hearing, 11)
    assert list(event) == [
        "customerID",
        "isVisitor",
        "actionID",
        "channelID",
        "promoCode",
        "templateID",
        "TimeStamp",
        "personalization",
    ]
    assert event["customerID"] == customer_id(members[0])
    assert event["isVisitor"] is False
    assert (event["actionID"], event["channelID"], event["promoCode"], event["templateID"]) == (
        campaign.action(1),
        506,
        campaign.promo_code(1),
        campaign.template(506, 1),
    )
    sandbox.fire_event(11)
    sandbox.fire_event(11, customerid="C0000007")
    assert [event["customerID"] for event in hearing.events[1:]] == [customer_id(members[1]), "C0000007"]


def test_the_moments_of_an_event(sandbox: OptimoveSandbox, hearing: Hearing) -> None:
    on_hold = fired(sandbox, hearing, 5)
    time, clearance = (datetime.datetime.fromisoformat(on_hold[name]) for name in ("TimeStamp", "ClearanceRequiredBy"))
    assert clearance - time == datetime.timedelta(hours=1)
    assert fired(sandbox, hearing, 3)["UpdateDate"] == "2026-11-19"
    sandbox.today = None
    before = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    now = datetime.datetime.fromisoformat(fired(sandbox, hearing, 2)["TimeStamp"]).replace(tzinfo=datetime.UTC)
    assert before <= now <= datetime.datetime.now(datetime.UTC)


def test_the_campaign_fits_the_event(sandbox: OptimoveSandbox, hearing: Hearing) -> None:
    today, yesterday = campaigns(sandbox), campaigns(sandbox, TODAY - datetime.timedelta(days=1))
    assert fired(sandbox, hearing, 1)["CampaignID"] == today[0].number
    (canceled,) = (c for c in (*today, *yesterday) if c.kind.canceled)
    assert fired(sandbox, hearing, 4)["CampaignID"] == canceled.number
    on_hold = sandbox.world.campaign(fired(sandbox, hearing, 5)["CampaignID"])
    assert on_hold is not None
    assert on_hold.kind.promotion
    assert hearing.events[-1]["CampaignDuration"] == on_hold.duration


def test_a_channel_that_somebody_listens_to_comes_first(sandbox: OptimoveSandbox, hearing: Hearing) -> None:
    by_channel = {channel: c.number for c in reversed(campaigns(sandbox)) for channel in c.kind.channels if c.executed}
    assert sandbox.fire_event(13) == []
    register(sandbox, hearing, 13, 504)
    sandbox.fire_event(13)
    ab_test = next(campaign for campaign in campaigns(sandbox) if campaign.kind.channels == (15, 506))
    sandbox.listeners[:] = []
    register(sandbox, hearing, 13, 506)
    sandbox.fire_event(13, campaign_id=ab_test.number)
    register(sandbox, hearing, 13)
    sandbox.fire_event(13, channel_id=505)
    assert [(event["CampaignID"], event["ChannelID"]) for event in hearing.events] == [
        (by_channel[504], 504),
        (ab_test.number, 506),
        (by_channel[505], 505),
    ]


def test_other_values_and_further_fields(sandbox: OptimoveSandbox, hearing: Hearing) -> None:
    event = fired(sandbox, hearing, 13, campaign_id=7, channel_id=504, timestamp="2026-11-20 08:00:00", Extra={"a": []})
    assert event == {
        "EventTypeID": 13,
        "TimeStamp": "2026-11-20 08:00:00",
        "CampaignID": 7,
        "ChannelID": 504,
        "Extra": {"a": []},
    }
    unknown = fired(sandbox, hearing, 12, campaign_id=7, channel_id=504)
    assert (unknown["CampaignID"], unknown["ChannelID"]) == (7, 504)


def test_drift(sandbox: OptimoveSandbox, hearing: Hearing) -> None:
    sandbox.drift = True
    on_hold = fired(sandbox, hearing, 5, campaign_id=7)
    assert list(on_hold) == ["eventTypeId", "timeStamp", "campaignId", "campaignDuration", "clearanceRequiredBy"]
    assert (on_hold["eventTypeId"], on_hold["campaignId"]) == ("5", "7")
    assert type(on_hold["campaignDuration"]) is int
    triggered = fired(sandbox, hearing, 11)
    assert triggered["ChannelId"] == "506"
    assert [type(code) for code in triggered["PromoCode"]] == [str]
    assert triggered["IsVisitor"] is False


# Who gets them


def test_it_goes_to_every_listener_of_the_type_and_channel(sandbox: OptimoveSandbox, hearing: Hearing) -> None:
    for event_type, channel in ((13, 504), (13, 505), (13, None), (1, None)):
        register(sandbox, hearing, event_type, channel)
    made = sandbox.fire_event(13, campaign_id=7, channel_id=504, times=2)
    assert hearing.paths == [f"/13/{who}?token={TOKEN}" for who in ("504", "every")] * 2
    assert hearing.events == [hearing.events[0]] * 4
    assert [delivery.event_type for delivery in made] == [13] * 4
    assert sandbox.deliveries == made


@pytest.mark.parametrize(("event_type", "channels"), [(1, {15}), (2, {15, 504}), (5, {15}), (6, {15, 504})])
def test_who_gets_events_without_a_channel_in_them(
    sandbox: OptimoveSandbox, hearing: Hearing, event_type: int, channels: set[int]
) -> None:
    """Those about a campaign go to the listeners of its channels, all others to every one."""
    for channel in (15, 504):
        register(sandbox, hearing, event_type, channel)
    sandbox.fire_event(event_type, campaign_id=campaigns(sandbox)[0].number if event_type in (1, 5) else None)
    assert hearing.paths == [f"/{event_type}/{channel}?token={TOKEN}" for channel in sorted(channels)]


@pytest.mark.parametrize(
    "url",
    [
        f"https://example.com/a?token={TOKEN}",
        f"http://user:{TOKEN}@10.0.0.1/a",
        f"http://127.0.0.1.example.com/?{TOKEN}",
        f"http://127.0.0.1@example.com/?x={TOKEN}",
        f"http://127.0.0.1:99999/?x={TOKEN}",
        "http://localhost.example.com/",
        "http://[::2]/",
    ],
)
def test_nobody_elsewhere_gets_one(sandbox: OptimoveSandbox, hearing: Hearing, url: str) -> None:
    register(sandbox, hearing, 13)
    sandbox.listeners.append(Listener(13, None, url))
    with pytest.raises(ValueError, match="events go to listeners of this machine only") as caught:
        sandbox.fire_event(13)
    assert TOKEN not in str(caught.value)
    assert (hearing.events, sandbox.deliveries) == ([], [])


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.9.1"])
def test_names_of_this_machine(sandbox: OptimoveSandbox, host: str) -> None:
    sandbox.listeners.append(Listener(13, None, f"http://{host}:{unused_port()}/"))
    assert [delivery.status for delivery in sandbox.fire_event(13)] == [None]


@pytest.mark.parametrize(
    ("event_type", "what", "said"),
    [
        (0, {}, "there is no event 0; expected 1 to 99"),
        (100, {}, "there is no event 100; expected 1 to 99"),
        (13, {"channel_id": 502}, "no campaign of the last days fits event 13 on channel 502: name one"),
        (13, {"campaign_id": 10**9}, "campaign 1000000000 is not known here: name its channel too"),
        (11, {"campaign_id": 10**9, "channel_id": 506}, "name a campaign that has some here"),
        (13, {"times": 0}, "times: expected 1 or more, got 0"),
    ],
)
def test_events_that_cannot_be(sandbox: OptimoveSandbox, event_type: int, what: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        sandbox.fire_event(event_type, **what)


# How it went


def test_what_a_delivery_tells(sandbox: OptimoveSandbox, hearing: Hearing) -> None:
    hearing.answers = [(503, b"busy " * 100), (204, b""), (302, b"\xff")]
    register(sandbox, hearing, 13)
    made = sandbox.fire_event(13, times=4)
    assert [(delivery.status, delivery.answer) for delivery in made] == [
        (503, "busy " * 40),
        (204, ""),
        (302, "�"),
        (200, "recorded"),
    ]
    assert {delivery.url for delivery in made} == {f"{hearing.url}/13/every?token=***"}
    assert all(0 < delivery.seconds < 30 for delivery in made)


def test_a_listener_that_is_not_there(sandbox: OptimoveSandbox, hearing: Hearing) -> None:
    dead = f"http://127.0.0.1:{unused_port()}"
    sandbox.listeners.append(Listener(13, None, f"{dead}/?token={TOKEN}"))
    register(sandbox, hearing, 13)
    first, second = sandbox.fire_event(13)
    assert isinstance(first, Delivery)
    assert (first.event_type, first.url, first.status) == (13, f"{dead}/?token=***", None)
    assert "refused" in first.answer
    assert second.status == 200


def test_a_listener_that_speaks_no_http(sandbox: OptimoveSandbox) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        sandbox.listeners.append(Listener(13, None, f"http://127.0.0.1:{server.getsockname()[1]}/?token={TOKEN}"))

        def hang_up() -> None:
            connection, _ = server.accept()
            connection.recv(10_000)
            connection.sendall(b"who is there?\r\n")
            connection.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        (delivery,) = sandbox.fire_event(13)
        thread.join()
    assert delivery.status is None
    assert "who is there?" in delivery.answer


@pytest.mark.parametrize(
    ("url", "called", "shown"),
    [
        (f"/a b?token={TOKEN}&x=y#{TOKEN}", f"/a%20b?token={TOKEN}&x=y", "/a b?token=***&x=***"),
        (f"/ü%2F%25?to ken={TOKEN}", f"/%C3%BC%2F%25?to%20ken={TOKEN}", "/ü%2F%25?to ken=***"),
        (f"/a?b/c=://d&{TOKEN}", f"/a?b/c=://d&{TOKEN}", "/a?b/c=***&***"),
        ("", "/", ""),
    ],
)
def test_any_url_is_called_and_shown_without_values(
    sandbox: OptimoveSandbox, hearing: Hearing, url: str, called: str, shown: str
) -> None:
    host = hearing.url.removeprefix("http://")
    sandbox.listeners.append(Listener(13, None, f"http://user:{TOKEN}@{host}{url}"))
    (delivery,) = sandbox.fire_event(13)
    assert delivery.status == 200
    assert hearing.paths == [called]
    assert delivery.url == f"http://{host}{shown}"


# On command


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    fire = [sys.executable, "-m", "airflow_provider_optimove.sandbox", "fire", *arguments]
    return subprocess.run(fire, capture_output=True, text=True, check=False, timeout=60)


def test_the_command(sandbox: OptimoveSandbox, hearing: Hearing) -> None:
    register(sandbox, hearing, 13)
    to = ("--port", str(sandbox.port))
    ran = command("13", "--campaign", "6577", "--channel", "504", "--times", "2", *to)
    assert (ran.returncode, ran.stderr) == (0, "")
    lines = ran.stdout.splitlines()
    assert len(lines) == 2
    assert all(line.startswith(f"13 {hearing.url}/13/every?token=***: 200 recorded, 0.0") for line in lines)
    assert [(event["CampaignID"], event["ChannelID"]) for event in hearing.events] == [(6577, 504)] * 2
    assert sandbox.calls == []

    hearing.answers = [(200, b"recorded"), (503, b"busy")]
    ran = command("13", "--times", "2", *to)
    assert ran.returncode == 1
    assert "?token=***: 503 busy, 0.0" in ran.stdout.splitlines()[1]

    sandbox.listeners[:] = [Listener(1, None, f"http://127.0.0.1:{unused_port()}/")]
    ran = command("1", *to)
    assert ran.returncode == 1
    assert "/: no answer: [Errno" in ran.stdout

    ran = command("13", *to)
    assert (ran.returncode, ran.stdout) == (1, "no listener is registered for event 13\n")


def test_the_command_that_moves_the_data_date(sandbox: OptimoveSandbox) -> None:
    program = [sys.executable, "-m", "airflow_provider_optimove.sandbox", "data", "--port", str(sandbox.port)]
    ran = subprocess.run([*program, "2024-11-20"], capture_output=True, text=True, check=False, timeout=60)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
    assert sandbox.last_data_update == datetime.date(2024, 11, 20)
    ran = subprocess.run([*program, "20 November"], capture_output=True, text=True, check=False, timeout=60)
    assert ran.returncode != 0
    assert "expected YYYY-MM-DD" in ran.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--port", "<unused>", "13"], "no sandbox on port"),
        (["--api-key", "another", "13"], "Unauthorized: the API key is not valid"),
        (["0"], "there is no event 0"),
        (["13", "--channel", "502"], "no campaign of the last days fits event 13"),
        (["thirteen"], "invalid int value: 'thirteen'"),
    ],
)
def test_the_command_says_what_is_wrong(sandbox: OptimoveSandbox, arguments: list[str], said: str) -> None:
    given = [str(unused_port()) if argument == "<unused>" else argument for argument in arguments]
    ran = command("--port", str(sandbox.port), *given)
    assert ran.returncode != 0
    assert said in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({}, '{"event_type": 13}', 401),
        ({"X-API-KEY": "sandbox-key"}, "[13]", 400),
        ({"X-API-KEY": "sandbox-key"}, "13", 400),
        ({"X-API-KEY": "sandbox-key"}, '{"event_type": "13"}', 400),
        ({"X-API-KEY": "sandbox-key"}, "{}", 400),
        ({"X-API-KEY": "sandbox-key"}, "no json", 400),
        ({"X-API-KEY": "sandbox-key"}, '{"event_type": 13}', 200),
    ],
)
def test_the_way_in_is_for_those_with_the_key(
    sandbox: OptimoveSandbox, hearing: Hearing, headers: dict[str, str], body: str, status: int
) -> None:
    register(sandbox, hearing, 13)
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", sandbox.port, timeout=30)) as connection:
        connection.request("POST", "/sandbox/fire", body, headers)
        assert connection.getresponse().status == status
    assert len(hearing.events) == (status == 200)
