"""The SessionM hook over real HTTP: the connection, and one method an operation."""

from __future__ import annotations

import inspect
import json
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, Connection

from airflow_provider_optimove import exceptions
from airflow_provider_optimove.clients.sessionm.client import SessionMClient, SessionMOperations
from airflow_provider_optimove.clients.sessionm.endpoints import ENDPOINTS
from airflow_provider_optimove.hooks.sessionm import SessionMHook
from airflow_provider_optimove.sandbox import SessionMSandbox

KEY, SECRET = "fake-api-key-71c3", "fake-api-secret-93c2"
NEW = {"name": "Winter", "status": "live", "starts_at": "2026-11-20 00:00:00", "ends_at": "2099-12-24 00:00:00"}


@pytest.fixture
def sessionm(monkeypatch: pytest.MonkeyPatch) -> Iterator[SessionMSandbox]:
    monkeypatch.setattr("airflow_provider_optimove.clients.http.time.sleep", lambda seconds: None)
    with SessionMSandbox(customers=30, api_key=KEY, api_secret=SECRET) as running:
        monkeypatch.setenv("AIRFLOW_CONN_SESSIONM_DEFAULT", running.connection)
        yield running


def connection(**fields: Any) -> Connection:
    extra = fields.pop("extra", {})
    given = {"conn_id": "mine", "conn_type": "sessionm", "host": "api.example.com", "login": KEY, "password": SECRET}
    return Connection(**{**given, **fields}, extra=json.dumps(extra))


# The connection


@pytest.mark.parametrize(
    ("fields", "base_url"),
    [
        ({}, "https://api.example.com"),
        ({"host": "https://api.example.com/", "port": 8443}, "https://api.example.com:8443"),
        ({"host": "127.0.0.1", "schema": "http", "port": 8099}, "http://127.0.0.1:8099"),
    ],
)
def test_address(fields: dict[str, Any], base_url: str) -> None:
    assert SessionMHook.settings_of(connection(**fields)).http.base_url == base_url


def test_fields_of_the_connection() -> None:
    extra = {"connect_timeout": 5, "read_timeout": "60", "retry_limit": 2, "total_timeout": 120, "verify": False}
    settings = SessionMHook.settings_of(connection(login=f" {KEY}\n", password=f"{SECRET} ü ", extra=extra))
    assert (settings.api_key, settings.api_secret) == (KEY, f"{SECRET} ü")
    http = settings.http
    assert (http.connect_timeout, http.read_timeout, http.retry_limit, http.total_timeout) == (5, 60, 2, 120)
    assert http.verify is False
    assert SECRET not in repr(settings)
    assert KEY not in repr(settings)


@pytest.mark.parametrize(
    ("fields", "problems"),
    [
        ({"host": ""}, ["host: missing; it is the account's API server, e.g. https://api-example.ent-sessionm.com"]),
        ({"login": None, "password": ""}, ["login: the API key is missing", "password: the API secret is missing"]),
        ({"login": f"{KEY}:{SECRET}"}, ["login: the API key holds a colon; does the secret stand there too?"]),
        ({"login": ".."}, ["login: this cannot be an API key"]),
        ({"host": "http://api.example.com"}, ["host: plain http would send the credentials unencrypted"]),
        ({"host": "api.example.com/priv/v1"}, ["host: expected no path; the rest of the address is known"]),
        ({"extra": {"retry_limit": -1}}, ["extra retry_limit: expected a whole number of 0 or more"]),
    ],
)
def test_a_bad_field_is_named_and_no_secret_shown(fields: dict[str, Any], problems: list[str]) -> None:
    with pytest.raises(exceptions.OptimoveInputError) as caught:
        SessionMHook.settings_of(connection(**fields))
    assert len(caught.value.problems) == len(problems)
    for told, expected in zip(caught.value.problems, problems, strict=True):
        assert told.startswith(expected)
    assert KEY not in str(caught.value)
    assert SECRET not in str(caught.value)


def test_connection_test(sessionm: SessionMSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    host = f"127.0.0.1:{sessionm.port}"
    assert SessionMHook().test_connection() == (True, f"{host} answers; it has 30 active campaigns")
    assert [call.function for call in sessionm.calls] == ["active_campaigns"]
    sessionm.api_secret = "another"
    ok, words = SessionMHook().test_connection()
    assert not ok
    assert words.startswith(
        f"{host}: active_campaigns: SessionM answered Invalid_api_key; are the API key and its secret"
    )
    sessionm.fail(status=503, times=None)
    assert "the server failed" in SessionMHook().test_connection()[1]
    sessionm.stop()
    assert f"{host}: cannot be reached: is the host right" in SessionMHook().test_connection()[1]
    monkeypatch.setenv("AIRFLOW_CONN_SESSIONM_DEFAULT", '{"conn_type": "sessionm"}')
    ok, words = SessionMHook().test_connection()
    assert not ok
    assert "host: missing" in words


def test_nothing_is_read_before_the_first_call() -> None:
    assert SessionMHook("no_such_connection").sessionm_conn_id == "no_such_connection"


# Calls


def test_every_operation_is_a_method() -> None:
    operations = {name for name in vars(SessionMOperations) if not name.startswith("_")}
    assert operations == {endpoint.operation for endpoint in ENDPOINTS}
    for name in operations:
        assert getattr(SessionMHook, name) is getattr(SessionMClient, name)
        arguments = set(inspect.signature(getattr(SessionMHook, name)).parameters)
        ids = {known for endpoint in ENDPOINTS if endpoint.operation == name for known in endpoint.ids}
        in_query = {known.removesuffix("[]") for found in ENDPOINTS if found.operation == name for known in found.query}
        # Which page comes next is not the caller's affair.
        assert arguments == {"self"} | ids | in_query - {"page"} | (
            {"campaign"} if name == "create_campaign" else set()
        )


def test_calls(sessionm: SessionMSandbox) -> None:
    hook = SessionMHook()
    assert isinstance(hook.get_conn(), SessionMClient)
    assert hook.client is hook.get_conn()
    created = hook.create_campaign({**NEW, "optin_required": True})
    hook.opt_in(created["id"], external_id="C0000002")
    assert hook.progress(permalink=created["external_id"], external_id="C0000002")["state"] == "opted_in"
    assert len(list(hook.eligible_campaigns(external_id="C0000002", filters=["all"]))) == 31
    assert created["id"] in {campaign["id"] for campaign in hook.active_campaigns()}
    assert hook.campaign_info(campaign_id=created["id"])["permalink"] == created["external_id"]
    token = sessionm.visitors[0].auth_token
    assert hook.campaigns_of_customer(auth_token=token)["tiles"]
    assert hook.campaign_of_customer(campaign_id=1, external_id="C0000002")["campaign_id"] == 1
    assert {call.status for call in sessionm.calls} == {200}


@pytest.mark.parametrize(
    ("fault", "ends_the_task"),
    [
        ({"body": '{"status": "error", "errors": {"code": "validation"}}'}, True),
        ({"status": 401, "body": '{"status": "error", "errors": {"code": "Invalid_api_key"}}'}, True),
        ({"status": 403}, True),
        ({"drop": "after"}, True),
        ({"status": 500, "body": '{"status": "error", "errors": {"code": "opt_in_error"}}'}, False),
        ({"status": 429}, False),
    ],
)
def test_errors_that_a_retry_cannot_mend_end_the_task(
    sessionm: SessionMSandbox, fault: dict[str, Any], ends_the_task: bool
) -> None:
    sessionm.fail(times=None, **fault)
    hook = SessionMHook()
    calls: list[Callable[[], Any]] = [lambda: hook.create_campaign(NEW), lambda: hook.opt_in(1, user_id=1)]
    for call in calls:
        with pytest.raises(exceptions.SessionMError) as caught:
            call()
        assert isinstance(caught.value, AirflowFailException) is ends_the_task
        # As Airflow hands it on to callbacks.
        again = pickle.loads(pickle.dumps(caught.value))  # noqa: S301
        assert (str(again), again.code, again.refused) == (str(caught.value), caught.value.code, caught.value.refused)


def test_bad_input_ends_the_task_and_sends_nothing(sessionm: SessionMSandbox) -> None:
    hook = SessionMHook()
    calls: list[Callable[[], Any]] = [
        lambda: hook.opt_in("spring", user_id=1),
        lambda: hook.eligible_campaigns(),
        lambda: hook.create_campaign({}),
    ]
    for call in calls:
        with pytest.raises(exceptions.OptimoveInputError) as caught:
            call()
        assert isinstance(caught.value, AirflowFailException)
    assert sessionm.calls == []


def test_an_error_while_reading_pages_ends_the_task(sessionm: SessionMSandbox) -> None:
    sessionm.fail("eligible_campaigns", status=403, after=1)
    campaigns = SessionMHook().eligible_campaigns(external_id="C0000002")
    next(campaigns)
    with pytest.raises(AirflowFailException):
        list(campaigns)
