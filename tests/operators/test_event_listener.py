"""Registering and unregistering event listeners; our own listener's URL, which nothing may show."""

from __future__ import annotations

import inspect
import json
import logging
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS

from airflow_provider_optimove.clients.optimove import client
from airflow_provider_optimove.exceptions import OptimoveBadRequestError, OptimoveInputError
from airflow_provider_optimove.hooks.optimove import OptimoveHook
from airflow_provider_optimove.operators.event_listener import OptimoveEventListenerOperator
from airflow_provider_optimove.operators.optimove import (
    OptimoveRegisterEventListenerOperator,
    OptimoveUnregisterEventListenerOperator,
)
from airflow_provider_optimove.sandbox import OptimoveSandbox
from airflow_provider_optimove.sandbox.account import Listener
from airflow_provider_optimove.webhook.address import SHORTEST_SECRET

pytest_plugins = ["airflow_provider_optimove.sandbox.pytest_plugin"]

REGISTER, UNREGISTER = "RegisterEventListener", "UnregisterEventListener"
LIST = "GetRegisteredEventListeners"
OTHER = "https://hooks.example.com/fake-path/events?key=fake-of-others&x=a%20b"
BASE = "https://airflow.example.com/team"
# Odd enough that nothing but the provider's own care hides them.
SECRET = "fake/listener+secret=of-tests"
OLDER = "fake-older&secret?of-tests"
OWN = f"{BASE}/optimove/events/optimove_default/13?token={quote(SECRET, safe='')}"
OWN_BEFORE = f"{BASE}/optimove/events/optimove_default/13?token={quote(OLDER, safe='')}"

only_on_airflow_3 = pytest.mark.skipif(not AIRFLOW_V_3_0_PLUS, reason="our own listener needs Airflow 3")


class Setting:
    """What the connection and Airflow's configuration say."""

    def __init__(self, sandbox: OptimoveSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
        self._fields = json.loads(sandbox.connection)
        self._monkeypatch = monkeypatch

    def connection(self, **extra: Any) -> None:
        fields = json.dumps({**self._fields, "extra": extra})
        self._monkeypatch.setenv("AIRFLOW_CONN_OPTIMOVE_DEFAULT", fields)

    def base_url(self, url: str | None) -> None:
        if url is None:
            self._monkeypatch.delenv("AIRFLOW__API__BASE_URL")
        else:
            self._monkeypatch.setenv("AIRFLOW__API__BASE_URL", url)


@pytest.fixture
def setting(optimove_sandbox: OptimoveSandbox, monkeypatch: pytest.MonkeyPatch) -> Setting:
    """Our own listener can be registered."""
    found = Setting(optimove_sandbox, monkeypatch)
    found.connection(listener_secret=f"{SECRET} {OLDER}")
    found.base_url(BASE)
    monkeypatch.setenv("AIRFLOW__OPTIMOVE__LISTENER_CONNECTIONS", "other, optimove_default")
    return found


def run(operator: type[OptimoveEventListenerOperator], **arguments: Any) -> dict[str, Any]:
    return operator(task_id="listen", **arguments).execute({})


def register(**arguments: Any) -> dict[str, Any]:
    return run(OptimoveRegisterEventListenerOperator, **arguments)


def unregister(**arguments: Any) -> dict[str, Any]:
    return run(OptimoveUnregisterEventListenerOperator, **arguments)


def functions(sandbox: OptimoveSandbox) -> list[str]:
    return [call.function for call in sandbox.calls]


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The URLs as they were sent, oldest first."""
    urls: list[str] = []
    for name in ("register_event_listener", "unregister_event_listener"):
        original = getattr(client.OptimoveClient, name)

        def noted(self: Any, *, original: Any = original, **arguments: Any) -> Any:
            urls.append(arguments["listener_url"])
            return original(self, **arguments)

        monkeypatch.setattr(client.OptimoveClient, name, noted)
    return urls


# Any listener


@pytest.mark.parametrize("event_type", [13, "13", "campaign_executed", " Campaign_Executed "])
@pytest.mark.parametrize(
    ("channel_id", "channel"),
    [(None, None), (505, 505), ("505", 505), ("", None), ("None", None), (0, None), ("0", None)],
)
def test_it_registers_once(
    optimove_sandbox: OptimoveSandbox, event_type: int | str, channel_id: Any, channel: int | None
) -> None:
    arguments = {"event_type": event_type, "channel_id": channel_id, "listener_url": OTHER}
    told = {"event_type": 13, "channel_id": channel}
    assert register(**arguments) == {**told, "changed": True}
    assert optimove_sandbox.listeners == [Listener(13, channel, OTHER)]
    assert register(**arguments) == {**told, "changed": False}
    assert functions(optimove_sandbox) == [LIST, REGISTER, LIST]
    assert unregister(**arguments) == {**told, "changed": True}
    assert optimove_sandbox.listeners == []
    assert unregister(**arguments) == {**told, "changed": False}
    assert functions(optimove_sandbox)[3:] == [LIST, UNREGISTER, LIST]


@pytest.mark.parametrize(("percent_encode", "form"), [(True, quote(OTHER, safe="")), (False, OTHER)])
@pytest.mark.parametrize("given", [OTHER, quote(OTHER, safe=""), f" {quote(quote(OTHER, safe=''), safe='')}\n"])
def test_the_form_of_the_url(
    optimove_sandbox: OptimoveSandbox, sent: list[str], percent_encode: bool, form: str, given: str
) -> None:
    register(event_type=13, listener_url=given, percent_encode=percent_encode)
    unregister(event_type=13, listener_url=given, percent_encode=percent_encode)
    assert sent == [form, form]


def test_only_the_same_type_channel_and_url_is_the_same(optimove_sandbox: OptimoveSandbox) -> None:
    others = [
        Listener(1, None, OTHER),
        Listener(13, 505, OTHER),
        Listener(13, None, OTHER.replace("/events", "/other")),
        Listener(13, None, OTHER.replace("x=a", "x=b")),
        Listener(13, None, "not://an address"),
    ]
    optimove_sandbox.listeners[:] = others
    assert unregister(event_type=13, listener_url=OTHER)["changed"] is False
    assert register(event_type=13, listener_url=OTHER)["changed"] is True
    assert optimove_sandbox.listeners == [*others, Listener(13, None, OTHER)]


@pytest.mark.parametrize(
    ("row", "is_it"),
    [
        ({"EventTypeID": "13", "ChannelID": None, "ListenerURL": quote(OTHER, safe="")}, True),
        ({"eventTypeId": 13, "channelId": "0", "listenerUrl": OTHER}, True),
        ({"EVENTTYPEID": 13, "LISTENERURL": quote(quote(OTHER, safe=""), safe="")}, True),
        ({"EventTypeID": 13, "ChannelID": 0, "ListenerURL": quote(OTHER, safe="").lower()}, True),
        ({"EventTypeID": 13, "ChannelID": "", "ListenerURL": OTHER.replace("%20", " ")}, True),
        ({"EventTypeID": 13, "ChannelID": "505", "ListenerURL": OTHER}, False),
        ({"EventTypeID": 13, "ChannelID": "every", "ListenerURL": OTHER}, False),
        ({"EventTypeID": "executed", "ListenerURL": OTHER}, False),
        ({"EventTypeID": 13, "ListenerURL": None}, False),
        ({"ListenerURL": OTHER}, False),
    ],
)
def test_how_listeners_may_be_listed(optimove_sandbox: OptimoveSandbox, row: dict[str, Any], is_it: bool) -> None:
    optimove_sandbox.fail(LIST, body=json.dumps([row]), times=None)
    assert register(event_type=13, listener_url=OTHER)["changed"] is not is_it
    assert (REGISTER in functions(optimove_sandbox)) is not is_it


@pytest.mark.parametrize("drift", [False, True])
def test_ids_as_text(optimove_sandbox: OptimoveSandbox, drift: bool) -> None:
    optimove_sandbox.drift = drift
    optimove_sandbox.listeners[:] = [Listener(13, 505, OTHER), Listener(13, None, OTHER)]
    assert register(event_type=13, channel_id=505, listener_url=OTHER)["changed"] is False
    assert register(event_type=13, listener_url=OTHER)["changed"] is False


@pytest.mark.parametrize("run_it", [register, unregister])
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"event_type": "executed"}, "campaign_executed \\(13\\)"),
        ({"event_type": 13, "channel_id": "mail"}, "ChannelID: expected a whole number"),
        ({"event_type": 13, "channel_id": -1}, "ChannelID: expected a whole number"),
        ({"event_type": 13, "listener_url": ""}, "listener_url: expected 'own' or an address"),
        ({"event_type": 13, "listener_url": "None"}, "listener_url: expected 'own' or an address"),
        ({"event_type": 13, "listener_url": "ftp://fake.example.com"}, "listener_url: expected 'own' or an address"),
        ({"event_type": 13, "listener_url": "https:///fake"}, "listener_url: expected 'own' or an address"),
        ({"event_type": 13, "listener_url": "https://fake:x/"}, "listener_url: expected 'own' or an address"),
    ],
)
def test_bad_arguments_need_no_call(
    optimove_sandbox: OptimoveSandbox, run_it: Callable[..., Any], arguments: dict[str, Any], said: str
) -> None:
    with pytest.raises(OptimoveInputError, match=said) as caught:
        run_it(**{"listener_url": OTHER, **arguments})
    assert isinstance(caught.value, AirflowFailException)
    assert "fake" not in str(caught.value)
    assert optimove_sandbox.calls == []


def test_nothing_is_read_before_execution() -> None:
    OptimoveRegisterEventListenerOperator(
        task_id="listen", event_type="{{ nothing }}", channel_id="{{ nothing }}", optimove_conn_id="nowhere"
    )


# Unregistering all


@pytest.mark.parametrize(("channel_id", "gone"), [(None, [0, 1, 2]), (505, [2])])
def test_without_a_url_every_listener_is_dropped_and_that_is_said(
    optimove_sandbox: OptimoveSandbox,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    channel_id: int | None,
    gone: list[int],
) -> None:
    listeners = [
        Listener(13, None, OTHER),
        Listener(13, None, "https://b.example.com/"),
        Listener(13, 505, OTHER),
        Listener(1, None, OTHER),
    ]
    optimove_sandbox.listeners[:] = listeners
    assert unregister(event_type=13, channel_id=channel_id)["changed"] is True
    assert optimove_sandbox.listeners == [listener for number, listener in enumerate(listeners) if number not in gone]
    assert functions(optimove_sandbox) == [LIST, UNREGISTER]
    said = caplog.text + capfd.readouterr().out
    assert f"Without listener_url, all {len(gone)} listeners are dropped, whoever registered them" in said
    assert "listener_url='own' drops only ours" in said
    assert unregister(event_type=13, channel_id=channel_id)["changed"] is False
    assert functions(optimove_sandbox)[2:] == [LIST]


# Our own


@only_on_airflow_3
@pytest.mark.parametrize("own", [None, "own", " Own "])
@pytest.mark.parametrize("percent_encode", [True, False])
def test_our_own_listener(
    optimove_sandbox: OptimoveSandbox, setting: Setting, own: str | None, percent_encode: bool, sent: list[str]
) -> None:
    assert register(event_type=13, listener_url=own, percent_encode=percent_encode)["changed"] is True
    assert optimove_sandbox.listeners == [Listener(13, None, OWN)]
    assert register(event_type=13, listener_url=own)["changed"] is False
    assert unregister(event_type=13, listener_url="own", percent_encode=percent_encode)["changed"] is True
    assert optimove_sandbox.listeners == []
    assert sent == [quote(OWN, safe="") if percent_encode else OWN] * 2


@only_on_airflow_3
def test_a_new_secret_replaces_the_older_ones(
    optimove_sandbox: OptimoveSandbox, setting: Setting, sent: list[str]
) -> None:
    other, older = Listener(13, None, OTHER), Listener(13, None, OWN_BEFORE)
    optimove_sandbox.listeners[:] = [older, other, Listener(13, None, OWN_BEFORE.replace("token", "secret"))]
    assert register(event_type=13)["changed"] is True
    assert optimove_sandbox.listeners == [other, Listener(13, None, OWN)]
    assert functions(optimove_sandbox) == [LIST, REGISTER, UNREGISTER, UNREGISTER]
    # As a try that was cut off leaves it.
    optimove_sandbox.listeners.append(older)
    assert register(event_type=13)["changed"] is True
    assert functions(optimove_sandbox)[4:] == [LIST, UNREGISTER]
    assert optimove_sandbox.listeners == [other, Listener(13, None, OWN)]
    optimove_sandbox.listeners.append(older)
    assert register(event_type=13, listener_url=OTHER)["changed"] is False


@only_on_airflow_3
def test_unregistering_ours_drops_older_secrets_too_and_nobody_elses(
    optimove_sandbox: OptimoveSandbox, setting: Setting
) -> None:
    others = [Listener(13, None, OTHER), Listener(1, None, OWN)]
    optimove_sandbox.listeners[:] = [Listener(13, None, OWN_BEFORE), *others, Listener(13, None, OWN)]
    assert unregister(event_type=13, listener_url="own")["changed"] is True
    assert optimove_sandbox.listeners == others


@only_on_airflow_3
def test_unregistering_ours_needs_no_secret_and_no_https(optimove_sandbox: OptimoveSandbox, setting: Setting) -> None:
    setting.connection()
    setting.base_url("http://airflow.example.com")
    ours = Listener(13, None, OWN.replace(BASE, "http://airflow.example.com"))
    optimove_sandbox.listeners[:] = [Listener(13, None, OTHER), ours]
    assert unregister(event_type=13, listener_url="own")["changed"] is True
    assert optimove_sandbox.listeners == [Listener(13, None, OTHER)]


@only_on_airflow_3
@pytest.mark.parametrize("run_it", [register, unregister])
def test_listeners_like_ours_at_other_addresses_are_warned_of(
    optimove_sandbox: OptimoveSandbox,
    setting: Setting,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    run_it: Callable[..., Any],
) -> None:
    before = [
        Listener(13, None, OWN_BEFORE.replace(BASE, "https://user:fake@old.example.com:8443/hidden")),
        Listener(13, 505, OWN.replace(BASE, "https://older.example.com")),
    ]
    others = [
        Listener(13, None, OTHER),
        Listener(1, None, OWN.replace(BASE, "https://typed.example.com").replace("/13?", "/1?")),
        Listener(13, None, OWN.replace(BASE, "https://named.example.com").replace("optimove_default", "other")),
        Listener(13, 505, OWN),
    ]
    optimove_sandbox.listeners[:] = [*before, *others]
    run_it(event_type=13, listener_url="own")
    assert {*before, *others} <= set(optimove_sandbox.listeners)
    captured = capfd.readouterr()
    said = caplog.text + captured.out + captured.err
    told = re.findall(r"A listener like ours is registered at (\S+), too \((.*?)\)", said)
    assert set(told) == {("old.example.com", "every channel"), ("older.example.com", "channel 505")}
    assert "listener_url='https://.../optimove/events/optimove_default/13'" in said
    for hidden in ("hidden", "8443", "fake", "typed", "named", "hooks"):
        assert hidden not in said


@pytest.mark.parametrize("percent_encode", [True, False])
def test_the_address_without_token_drops_what_a_base_url_of_before_has_left(
    optimove_sandbox: OptimoveSandbox, setting: Setting, percent_encode: bool
) -> None:
    address = "https://old.example.com/optimove/events/optimove_default/13"
    others = [
        Listener(13, 505, f"{address}?token=fake-secret"),
        Listener(13, None, OTHER),
        Listener(13, None, address.replace("old", "new")),
        Listener(5, None, f"{address}?token=fake-secret"),
    ]
    optimove_sandbox.listeners[:] = [Listener(13, None, f"{address}?token=fake-secret"), *others]
    arguments: dict[str, Any] = {"event_type": 13, "percent_encode": percent_encode}
    assert unregister(**arguments, listener_url=f"{address}?token=fake-older")["changed"] is False
    assert unregister(**arguments, listener_url=OTHER.partition("?")[0])["changed"] is False
    assert unregister(**arguments, listener_url=address)["changed"] is True
    assert set(optimove_sandbox.listeners) == set(others)


def test_listeners_of_single_channels_stay_when_that_of_every_channel_goes(optimove_sandbox: OptimoveSandbox) -> None:
    """Optimove's documents leave open what happens to them; in the sandbox they go along."""
    single = [Listener(13, 504, OTHER), Listener(13, 505, OTHER)]
    optimove_sandbox.listeners[:] = [*single, Listener(13, None, OTHER), Listener(13, 504, "https://b.example.com/")]
    assert unregister(event_type=13, listener_url=OTHER)["changed"] is True
    assert set(optimove_sandbox.listeners) == {*single, Listener(13, 504, "https://b.example.com/")}
    assert functions(optimove_sandbox) == [LIST, UNREGISTER, LIST, REGISTER, REGISTER]
    assert unregister(event_type=13, listener_url=OTHER, channel_id=504)["changed"] is True
    assert set(optimove_sandbox.listeners) == {single[1], Listener(13, 504, "https://b.example.com/")}
    # An Optimove that leaves them alone is not told again.
    optimove_sandbox.listeners[:] = [*single, Listener(13, None, OTHER)]
    optimove_sandbox.fail(UNREGISTER, body="")
    assert unregister(event_type=13, listener_url=OTHER)["changed"] is True
    assert functions(optimove_sandbox)[-3:] == [LIST, UNREGISTER, LIST]


@only_on_airflow_3
@pytest.mark.parametrize(
    ("base_url", "said"),
    [
        (None, "[api] base_url: expected the address"),
        ("", "[api] base_url: expected the address"),
        ("airflow.example.com", "[api] base_url: expected the address"),
        ("ftp://airflow.example.com", "[api] base_url: expected the address"),
        ("https://user:fake@airflow.example.com", "[api] base_url: expected the address"),
        ("https://airflow.example.com/?a=fake", "[api] base_url: expected the address"),
        ("https://airflow.example.com/#fake", "[api] base_url: expected the address"),
    ],
)
@pytest.mark.parametrize("run_it", [register, unregister])
def test_addresses_that_optimove_is_not_told(
    optimove_sandbox: OptimoveSandbox, setting: Setting, run_it: Callable[..., Any], base_url: str | None, said: str
) -> None:
    setting.base_url(base_url)
    with pytest.raises(OptimoveInputError, match=re.escape(said)) as caught:
        run_it(event_type=13, listener_url="own")
    assert isinstance(caught.value, AirflowFailException)
    assert "fake" not in str(caught.value)
    assert optimove_sandbox.calls == []


@only_on_airflow_3
@pytest.mark.parametrize(
    "base_url", ["http://airflow.example.com", "HTTP://10.0.0.1:8080", "http://127.0.0.1.example.com"]
)
def test_a_secret_does_not_travel_by_plain_http(
    optimove_sandbox: OptimoveSandbox, setting: Setting, base_url: str
) -> None:
    setting.base_url(base_url)
    with pytest.raises(OptimoveInputError, match="with plain http, the listener's secret"):
        register(event_type=13)
    assert optimove_sandbox.calls == []


@only_on_airflow_3
@pytest.mark.parametrize("allowed", [True, "true", "1"])
def test_plain_http_where_the_connection_allows_it(
    optimove_sandbox: OptimoveSandbox, setting: Setting, allowed: Any
) -> None:
    setting.base_url("http://airflow.example.com/")
    setting.connection(listener_secret=SECRET, allow_http=allowed)
    register(event_type=13)
    (listener,) = optimove_sandbox.listeners
    assert listener.url.startswith("http://airflow.example.com/optimove/events/optimove_default/13?token=")


@only_on_airflow_3
@pytest.mark.parametrize("base_url", ["http://localhost:8080", "http://127.0.0.1:8080", "https://[::1]:8080"])
def test_a_url_of_this_machine_is_warned_of(
    optimove_sandbox: OptimoveSandbox,
    setting: Setting,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    base_url: str,
) -> None:
    setting.base_url(base_url)
    assert register(event_type=13)["changed"] is True
    said = caplog.text + capfd.readouterr().out
    assert "Optimove itself cannot reach it" in said
    assert f"Event 13 (campaign_executed), every channel: registered: {base_url}/optimove/events/" in said


@only_on_airflow_3
@pytest.mark.parametrize(("connections", "warned"), [("", True), ("other", True), ("a,optimove_default ", False)])
def test_a_listener_that_is_switched_off_is_warned_of(
    optimove_sandbox: OptimoveSandbox,
    setting: Setting,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    connections: str,
    warned: bool,
) -> None:
    monkeypatch.setenv("AIRFLOW__OPTIMOVE__LISTENER_CONNECTIONS", connections)
    register(event_type=13)
    said = caplog.text + capfd.readouterr().out
    assert ("listener_connections does not name optimove_default" in said) is warned


@only_on_airflow_3
@pytest.mark.parametrize("secret", [None, "", " ", "x" * 15, "short words only"])
def test_without_a_secret_nothing_is_registered(
    optimove_sandbox: OptimoveSandbox, setting: Setting, secret: str | None
) -> None:
    setting.connection(listener_secret=secret)
    with pytest.raises(OptimoveInputError, match="listener_secret is missing or has fewer than 16 characters"):
        register(event_type=13)
    assert optimove_sandbox.calls == []


@pytest.mark.skipif(AIRFLOW_V_3_0_PLUS, reason="about Airflow 2")
@pytest.mark.parametrize("run_it", [register, unregister])
def test_our_own_listener_needs_airflow_3(
    optimove_sandbox: OptimoveSandbox, setting: Setting, run_it: Callable[..., Any]
) -> None:
    with pytest.raises(OptimoveInputError, match="the event listener of this provider needs Airflow 3"):
        run_it(event_type=13, listener_url="own")
    assert optimove_sandbox.calls == []


# Secrets


def forms(secret: str) -> Iterator[str]:
    """A secret as it may be written."""
    once = quote(secret, safe="")
    for text in (secret, quote(secret), once, quote(once, safe=""), quote(once.lower(), safe=""), json.dumps(secret)):
        yield text.strip('"')


@pytest.mark.parametrize("secret", [SECRET, OLDER])
def test_every_secret_of_the_connection_is_redacted_in_every_form(
    optimove_sandbox: OptimoveSandbox, setting: Setting, secret: str
) -> None:
    redact = OptimoveHook().client.redact
    for form in forms(secret):
        assert redact(f"at {form}!") == "at ***!"
    assert redact(f"{SECRET} {OLDER}") == "***"


def test_short_words_of_a_secret_are_no_secrets(optimove_sandbox: OptimoveSandbox, setting: Setting) -> None:
    assert client.SHORTEST_LISTENER_SECRET == SHORTEST_SECRET
    setting.connection(listener_secret=f"a short one {SECRET}")
    redact = OptimoveHook().client.redact
    assert redact("a short one") == "a short one"
    assert redact(f"a short one {SECRET}") == "***"


@only_on_airflow_3
@pytest.mark.parametrize("percent_encode", [True, False])
@pytest.mark.parametrize("escaped", [0, 1, 2])
@pytest.mark.parametrize("function", [LIST, REGISTER])
def test_a_server_that_repeats_the_url_is_not_repeated(
    optimove_sandbox: OptimoveSandbox,
    setting: Setting,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    percent_encode: bool,
    escaped: int,
    function: str,
) -> None:
    caplog.set_level(logging.DEBUG)
    said = f"cannot take {OWN} for {OWN_BEFORE}"
    for _ in range(escaped):
        said = quote(said, safe=" ")
    optimove_sandbox.fail(function, status=400, body=said)
    with pytest.raises(OptimoveBadRequestError, match=r"cannot take .*\*\*\*") as caught:
        register(event_type=13, percent_encode=percent_encode)
    captured = capfd.readouterr()
    written = f"{caught.value!r} {caught.value} {caught.value.__dict__} {caplog.text} {captured.out} {captured.err}"
    for secret in (SECRET, OLDER):
        assert not [found for found in forms(secret) if found in written]


@pytest.mark.parametrize("run_it", [register, unregister])
def test_the_log_shows_nothing_of_other_listeners(
    optimove_sandbox: OptimoveSandbox,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    run_it: Callable[..., Any],
) -> None:
    caplog.set_level(logging.DEBUG)
    optimove_sandbox.listeners[:] = [Listener(13, None, OTHER), Listener(13, None, "https://foreign.example.com/")]
    run_it(event_type=13, listener_url=OTHER)
    captured = capfd.readouterr()
    written = caplog.text + captured.out + captured.err
    assert "Event 13 (campaign_executed), every channel: " in written
    for part in ("hooks.example.com", "fake", "foreign"):
        assert part not in written


# In Airflow

SETUP = """
import pendulum
from airflow.providers.common.compat.sdk import dag, task
from airflow_provider_optimove.operators.optimove import (
    OptimoveRegisterEventListenerOperator,
    OptimoveUnregisterEventListenerOperator,
)

@dag(
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1),
    params={"conn_id": "elsewhere", "event": "campaign_executed", "channel": 505, "url": URL},
)
def DAG_ID():
    listener = {
        "event_type": "{{ params.event }}",
        "listener_url": "{{ params.url }}",
        "channel_id": "{{ params.channel }}",
        "optimove_conn_id": "{{ params.conn_id }}",
    }
    listen = OptimoveRegisterEventListenerOperator(task_id="listen", **listener).as_setup()
    end = OptimoveUnregisterEventListenerOperator(task_id="end", **listener).as_teardown(setups=listen)

    @task
    def work():
        from airflow_provider_optimove.hooks.optimove import OptimoveHook

        listeners = OptimoveHook("elsewhere").client.get_registered_event_listeners()
        if FAIL:
            raise ValueError("the work fails")
        return len(listeners)

    listen >> work() >> end

DAG_ID()
"""


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize(
    "url", [OTHER, pytest.param("own", marks=only_on_airflow_3)], ids=["another listener", "our own"]
)
def test_as_setup_and_teardown(
    optimove_sandbox: OptimoveSandbox,
    setting: Setting,
    run_dag: Callable[[str], Any],
    monkeypatch: pytest.MonkeyPatch,
    url: str,
    fails: bool,
) -> None:
    fields = {**json.loads(optimove_sandbox.connection), "extra": {"listener_secret": SECRET}}
    monkeypatch.setenv("AIRFLOW_CONN_ELSEWHERE", json.dumps(fields))
    monkeypatch.delenv("AIRFLOW_CONN_OPTIMOVE_DEFAULT")
    dag_id = f"listening_{url == 'own'}_{fails}".lower()
    found = run_dag(SETUP.replace("URL", repr(url)).replace("DAG_ID", dag_id).replace("FAIL", str(fails)))
    assert found.states == {"listen": "success", "work": "failed" if fails else "success", "end": "success"}
    if not fails:
        assert found.xcom("work") == 1
    assert found.xcom("listen") == {"event_type": 13, "channel_id": 505, "changed": True}
    assert optimove_sandbox.listeners == []
    assert [name for name in functions(optimove_sandbox) if name != LIST] == [REGISTER, UNREGISTER]
    rendered = found.rendered("end")
    assert (rendered["event_type"], rendered["channel_id"], rendered["listener_url"]) == (
        "campaign_executed",
        "505",
        url,
    )


PAGE = (Path(__file__).parents[2] / "docs" / "events.md").read_text()


@only_on_airflow_3
def test_the_dag_of_the_events_page(
    optimove_sandbox: OptimoveSandbox, setting: Setting, run_dag: Callable[[str], Any]
) -> None:
    (snippet,) = (python for python in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if "as_setup" in python)
    optimove_sandbox.listeners[:] = [Listener(13, None, OTHER)]
    found = run_dag(snippet)
    assert found.states == {"listen": "success", "work": "success", "end": "success"}
    assert found.xcom("end")["changed"] is True
    assert [name for name in functions(optimove_sandbox) if name != LIST] == [REGISTER, UNREGISTER]
    assert optimove_sandbox.listeners == [Listener(13, None, OTHER)]


def test_the_arguments_on_the_events_page() -> None:
    told = re.findall(r"^\| `(\w+)` \| ?`?(\w*)`? \| ", PAGE.split("| Argument |")[1].split("\n\n")[0], re.MULTILINE)
    parameters = dict(inspect.signature(OptimoveEventListenerOperator.__init__).parameters)
    for beside in ("self", "kwargs"):
        del parameters[beside]
    written = {name: "" if found.default is found.empty else str(found.default) for name, found in parameters.items()}
    assert dict(told) == written


EVERYTHING = """
import datetime
import pendulum
from airflow.providers.common.compat.sdk import DAG
from airflow_provider_optimove.operators.optimove import (
    OptimoveRegisterEventListenerOperator,
    OptimoveUnregisterEventListenerOperator,
)

with DAG("registering", schedule=None, start_date=pendulum.datetime(2026, 1, 1)):
    (
        OptimoveRegisterEventListenerOperator(task_id="register", event_type=13)
        >> OptimoveRegisterEventListenerOperator(task_id="refused", event_type=5, percent_encode=False)
        >> OptimoveUnregisterEventListenerOperator(
            task_id="unregister", event_type=13, listener_url="own", trigger_rule="all_done"
        )
    )
"""
# Airflow's supervisor logs at DEBUG which value it is asked to mask.
AIRFLOWS_OWN = re.compile(rb"msg=MaskSecret\(")


@only_on_airflow_3
def test_no_secret_in_anything_that_a_run_writes(
    tmp_path: Path, optimove_sandbox: OptimoveSandbox, setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "airflow"
    (home / "dags").mkdir(parents=True)
    (home / "dags" / "registering.py").write_text(EVERYTHING)
    own = OWN.replace("/13?", "/5?")
    optimove_sandbox.listeners[:] = [Listener(13, None, OWN_BEFORE)]
    # The server itself repeats the URL: once before the call is repeated, and once for good.
    optimove_sandbox.fail(REGISTER, status=503, body=f"cannot take {OWN} or {quote(OWN, safe='')}")
    optimove_sandbox.fail(REGISTER, status=400, body=f"cannot take {own} or {quote(own, safe='')}", after=1)
    for name, value in {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "DEBUG",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
    }.items():
        monkeypatch.setenv(name, value)
    for command in (["db", "migrate"], ["dags", "test", "registering"]):
        with (tmp_path / "output.txt").open("ab") as output:
            airflow = [sys.executable, "-m", "airflow", *command]
            subprocess.run(airflow, stdout=output, stderr=subprocess.STDOUT, check=False)

    # The run did what it should, and the search below looks where the words would be.
    called = [name for name in functions(optimove_sandbox) if name != LIST]
    assert called == [REGISTER, REGISTER, UNREGISTER, REGISTER, UNREGISTER]
    assert optimove_sandbox.listeners == []
    output_text = (tmp_path / "output.txt").read_text()
    for expected in (f"trying {REGISTER} again", "cannot take", "***", "debug", "with an older secret"):
        assert expected in output_text
    searched = 0
    texts = {form for secret in (SECRET, OLDER) for form in forms(secret)}
    for path in [path for path in tmp_path.rglob("*") if path.is_file()]:
        content = b"".join(line for line in path.read_bytes().splitlines(True) if not AIRFLOWS_OWN.search(line))
        searched += 1
        for form in texts:
            assert form.encode() not in content, f"{path.name} holds a secret"
    assert searched > 2
    with sqlite3.connect(home / "airflow.db") as database:
        xcom = [value for (value,) in database.execute("select value from xcom")]
        (rendered,) = database.execute(
            "select rendered_fields from rendered_task_instance_fields where task_id = 'register'"
        ).fetchone()
    assert sorted(map(str, xcom)) == ['{"event_type": 13, "channel_id": null, "changed": true}'] * 2
    assert json.loads(rendered)["listener_url"] is None
