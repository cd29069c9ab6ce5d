"""The hook over real HTTP, and how a connection becomes a client."""

from __future__ import annotations

import datetime
import json
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, Connection

from airflow_provider_optimove import exceptions
from airflow_provider_optimove.hooks.optimove import OptimoveHook, client_from_connection, settings_from_connection
from airflow_provider_optimove.hooks.task_errors import ending_the_task
from airflow_provider_optimove.sandbox import OptimoveSandbox

pytest_plugins = ["airflow_provider_optimove.sandbox.pytest_plugin"]

KEY = "fake-key-for-tests"


def connection(**fields: object) -> Connection:
    extra = fields.pop("extra", {})
    given = {"conn_id": "mine", "conn_type": "optimove", "host": "https://api5.optimove.net", "password": KEY, **fields}
    return Connection(**given, extra=json.dumps(extra))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fields", "base_url"),
    [
        ({"host": "https://api5.optimove.net"}, "https://api5.optimove.net"),
        ({"host": "https://api5.optimove.net/"}, "https://api5.optimove.net"),
        ({"host": "api5.optimove.net"}, "https://api5.optimove.net"),
        ({"host": "api5.optimove.net", "schema": "https", "port": 8443}, "https://api5.optimove.net:8443"),
        ({"host": "https://api5.optimove.net:8443"}, "https://api5.optimove.net:8443"),
        ({"host": "127.0.0.1", "schema": "http", "port": 8099}, "http://127.0.0.1:8099"),
        ({"host": "http://localhost:8099"}, "http://localhost:8099"),
        ({"host": "http://[::1]:8099"}, "http://[::1]:8099"),
        ({"host": "http://10.1.2.3", "extra": {"allow_http": True}}, "http://10.1.2.3"),
        ({"host": "http://10.1.2.3", "extra": {"allow_http": "true"}}, "http://10.1.2.3"),
        ({"host": "http://localhost", "extra": {"proxies": {"https": "http://proxy.example.com"}}}, "http://localhost"),
    ],
)
def test_address(fields: dict[str, object], base_url: str) -> None:
    assert settings_from_connection(connection(**fields)).http.base_url == base_url


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"host": ""}, "host: missing"),
        ({"host": "http://10.1.2.3"}, "plain http"),
        ({"host": "http://localhost.example.com"}, "plain http"),
        ({"host": "http://127.0.0.1.example.com"}, "plain http"),
        ({"host": "http://2130706433"}, "plain http"),
        ({"host": "ftp://api5.optimove.net"}, "expected https"),
        ({"host": "https://someone:hidden-word@api5.optimove.net"}, "only a server's name"),
        ({"host": "https://api5.optimove.net/current"}, "api_path"),
        ({"password": ""}, "API key is missing"),
        ({"login": "someone", "password": ""}, "password of the user is missing"),
        ({"password": "two words"}, "blanks"),
        ({"password": "line\nbreak"}, "line breaks"),
        ({"extra": {"connect_timeout": 0}}, "extra connect_timeout: expected a number of seconds above 0, got 0"),
        ({"extra": {"read_timeout": "soon"}}, "extra read_timeout"),
        ({"extra": {"retry_limit": -1}}, "extra retry_limit: expected a whole number of 0 or more"),
        ({"extra": {"retry_limit": True}}, "extra retry_limit"),
        ({"extra": {"total_timeout": "nan"}}, "extra total_timeout"),
        ({"extra": {"rate_limit": "fifty"}}, "extra rate_limit"),
        ({"extra": {"session_cache": "redis"}}, "expected file or memory, got 'redis'"),
        ({"extra": {"allow_http": "maybe"}}, "extra allow_http: expected true or false"),
        ({"extra": {"proxies": 5}}, "extra proxies"),
        ({"extra": {"proxies": "http://[::1"}}, "extra proxies: an address is not a URL"),
        ({"host": "http://localhost", "extra": {"proxies": "http://proxy.example.com"}}, "unencrypted to the proxy"),
        ({"extra": {"verify": "flase"}}, "extra verify: expected true, false or the path of a CA bundle, got 'flase'"),
        ({"extra": ["read_timeout"]}, "extra: expected an object"),
        ({"host": "two words"}, "not a server's name"),
        ({"host": "api5.optimove.net", "port": 99999}, "not a server's name and a port"),
        ({"host": "https://someone:hidden-word/half@api5.optimove.net"}, "host: not an address"),
        ({"extra": {"api_path": "current?x"}}, "extra api_path: expected a path"),
        ({"extra": {"timezone": "Nowhere/Land"}}, "extra timezone"),
    ],
)
def test_a_bad_field_is_named_and_no_secret_shown(fields: dict[str, object], words: str) -> None:
    with pytest.raises(exceptions.OptimoveInputError) as caught:
        settings_from_connection(connection(**fields))
    assert words in str(caught.value)
    assert "connection mine" in str(caught.value)
    for secret in (KEY, "hidden-word", "line\nbreak"):
        assert secret not in str(caught.value)


def test_a_password_that_is_no_text_is_named() -> None:
    # Airflow 2 cannot even keep one, so it comes from elsewhere.
    fields: dict[str, Any] = {
        "conn_id": "mine",
        "host": "a.example",
        "schema": None,
        "port": None,
        "login": "x",
        "extra_dejson": {},
    }
    with pytest.raises(exceptions.OptimoveInputError, match="password: holds half of a surrogate pair"):
        settings_from_connection(SimpleNamespace(**fields, password="half \ud800 a pair"))  # type: ignore[arg-type]


def test_extras_as_a_form_stores_them() -> None:
    extra = {
        "connect_timeout": "5",
        "read_timeout": 60,
        "retry_limit": "2",
        "total_timeout": "120",
        "rate_limit": "10/1,2000/3600",
        "session_cache": "memory",
        "api_path": "",
        "verify": __file__,
        "proxies": "http://proxy.example.com:3128",
        "timezone": None,
    }
    settings = settings_from_connection(connection(extra=extra))
    assert (settings.http.connect_timeout, settings.http.read_timeout) == (5.0, 60.0)
    assert (settings.http.retry_limit, settings.http.total_timeout) == (2, 120.0)
    assert (settings.rate_limit, settings.session_cache, settings.api_path) == ("10/1,2000/3600", "memory", "")
    assert settings.http.verify == __file__
    assert settings.http.proxies == {
        "http": "http://proxy.example.com:3128",
        "https": "http://proxy.example.com:3128",
    }


@pytest.mark.parametrize(("given", "used"), [("", ""), ("off", ""), ("20/1", "20/1"), (None, "50/10")])
def test_rate_limit_off_or_default(given: str | None, used: str) -> None:
    assert settings_from_connection(connection(extra={"rate_limit": given})).rate_limit == used


def test_an_unknown_extra_is_told(caplog: pytest.LogCaptureFixture) -> None:
    settings_from_connection(connection(extra={"read_timout": 5}))
    assert "'read_timout'" in caplog.text


def test_connection_test_tells_of_an_unknown_extra(
    optimove_sandbox: OptimoveSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields = {**json.loads(optimove_sandbox.connection), "extra": {"time_zone": "Europe/London"}}
    monkeypatch.setenv("AIRFLOW_CONN_OPTIMOVE_DEFAULT", json.dumps(fields))
    ok, message = OptimoveHook().test_connection()
    assert ok
    assert "extra time_zone has no meaning here" in message


def test_settings_and_client_show_no_secret() -> None:
    conn = connection(login="someone", extra={"proxies": "http://me:proxy-word@proxy.example.com"})
    for text in (repr(settings_from_connection(conn)), repr(client_from_connection(conn))):
        assert KEY not in text
        assert "proxy-word" not in text


def test_the_hook_reads_nothing_before_the_first_call() -> None:
    OptimoveHook("no_such_connection")


def test_hook_calls_and_iterates(optimove_sandbox: OptimoveSandbox) -> None:
    optimove_sandbox.last_data_update = datetime.date(2026, 11, 20)
    hook = OptimoveHook()
    assert hook.get_conn() is hook.client
    assert hook.client.get_last_data_update() == datetime.date(2026, 11, 20)
    assert hook.call("getlastdataupdate") == {"Date": "2026-11-20"}
    rows = list(hook.rows("GetCurrentlyTargetedCustomers", page_size=100))
    assert rows == hook.call("GetCurrentlyTargetedCustomers")
    assert len(rows) > 100
    assert {call.user_agent.split("/")[0] for call in optimove_sandbox.calls} == {"airflow-provider-optimove"}


@pytest.mark.parametrize(
    ("fault", "error", "ends_the_task"),
    [
        ({"status": 400}, exceptions.OptimoveBadRequestError, True),
        ({"status": 401}, exceptions.OptimoveAuthenticationError, True),
        ({"status": 403}, exceptions.OptimovePermissionError, True),
        ({"status": 405}, exceptions.OptimoveUnknownFunctionError, True),
        ({"status": 500}, exceptions.OptimoveServerError, False),
        ({"status": 429}, exceptions.OptimoveRateLimitError, False),
        ({"body": "<html><body>Blocked</body></html>"}, exceptions.OptimoveResponseError, False),
    ],
)
def test_errors_that_a_retry_cannot_mend_end_the_task(
    optimove_sandbox: OptimoveSandbox,
    monkeypatch: pytest.MonkeyPatch,
    fault: dict[str, Any],
    error: type[exceptions.OptimoveError],
    ends_the_task: bool,
) -> None:
    fields = {**json.loads(optimove_sandbox.connection), "extra": {"retry_limit": 0}}
    monkeypatch.setenv("AIRFLOW_CONN_OPTIMOVE_DEFAULT", json.dumps(fields))
    optimove_sandbox.fail("GetAllActions", times=3, **fault)
    hook = OptimoveHook()
    for call in (
        lambda: hook.call("GetAllActions"),
        hook.client.get_all_actions,
        lambda: [*hook.rows("GetAllActions")],
    ):
        with pytest.raises(error) as caught:
            call()
        assert isinstance(caught.value, AirflowFailException) is ends_the_task
        assert caught.value.function == "GetAllActions"


def test_bad_input_ends_the_task_and_sends_nothing(optimove_sandbox: OptimoveSandbox) -> None:
    hook = OptimoveHook()
    with pytest.raises(exceptions.OptimoveInputError) as caught:
        hook.call("GetCampaignDetails", CampaignID="abc")
    assert isinstance(caught.value, AirflowFailException)
    assert isinstance(caught.value, ValueError)
    with pytest.raises(AirflowFailException, match="host: missing"):
        client_from_connection(connection(host=""), translate_error=ending_the_task).get_all_actions()
    assert optimove_sandbox.calls == []


def test_connection_test_names_host_and_date(optimove_sandbox: OptimoveSandbox) -> None:
    optimove_sandbox.last_data_update = "2026-11-20"
    ok, message = OptimoveHook().test_connection()
    assert ok
    assert f"127.0.0.1:{optimove_sandbox.port}" in message
    assert "2026-11-20" in message


@pytest.mark.parametrize(
    ("change", "fault", "words"),
    [
        ({"password": "another-fake-key"}, None, "the API key is not accepted"),
        ({"login": "sandbox", "password": "another-fake-word"}, None, "the user name or password is not accepted"),
        ({}, {"status": 403, "body": "Forbidden"}, "IP allow list"),
        ({"host": "http://127.0.0.1:9"}, None, "is the host right"),
        ({"host": "http://192.0.2.1"}, None, "plain http"),
        ({"host": ""}, None, "host: missing"),
        ({}, {"status": 500}, "HTTP 500"),
    ],
)
def test_connection_test_says_why_not(
    optimove_sandbox: OptimoveSandbox,
    monkeypatch: pytest.MonkeyPatch,
    change: dict[str, object],
    fault: dict[str, Any] | None,
    words: str,
) -> None:
    fields = {**json.loads(optimove_sandbox.connection), **change}
    monkeypatch.setenv("AIRFLOW_CONN_OPTIMOVE_DEFAULT", json.dumps(fields))
    if fault:
        optimove_sandbox.fail(**fault)
    ok, message = OptimoveHook().test_connection()
    assert not ok
    assert words in message
    assert str(fields["password"]) not in message


@pytest.fixture
def server_with_own_certificate(certificate: Path) -> Iterator[str]:
    """A TLS server whose certificate nobody has signed."""
    server = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"https://localhost:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_connection_test_tells_of_a_bad_certificate(
    server_with_own_certificate: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields = {"conn_type": "optimove", "host": server_with_own_certificate, "password": KEY}
    monkeypatch.setenv("AIRFLOW_CONN_OPTIMOVE_DEFAULT", json.dumps(fields))
    ok, message = OptimoveHook().test_connection()
    assert not ok
    assert "certificate" in message


def test_connection_that_does_not_exist() -> None:
    ok, message = OptimoveHook("no_such_connection").test_connection()
    assert not ok
    assert "no_such_connection" in message


def test_time_zone_of_the_account() -> None:
    hook = OptimoveHook()
    hook.__dict__["_connection"] = connection(extra={"timezone": "Europe/London"})
    assert hook.timezone == "Europe/London"
