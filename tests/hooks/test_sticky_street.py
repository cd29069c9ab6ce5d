"""The Sticky Street hook over real HTTP, and how a connection becomes a client."""

from __future__ import annotations

import json
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, Connection

from airflow_provider_optimove.exceptions import OptimoveInputError
from airflow_provider_optimove.hooks.connection_form import extra_fields
from airflow_provider_optimove.hooks.sticky_street import StickyStreetHook
from airflow_provider_optimove.sandbox import StickyStreetSandbox

pytest_plugins = ["airflow_provider_optimove.sandbox.pytest_plugin"]

PASSWORD = "fake password & tests"


def connection(**fields: Any) -> Connection:
    extra = fields.pop("extra", {"account_id": "greatwidgets"})
    given = {"conn_id": "mine", "conn_type": "sticky_street", "login": "john1970", "password": PASSWORD, **fields}
    return Connection(**given, extra=json.dumps(extra))


def test_the_address_is_known() -> None:
    settings = StickyStreetHook.settings_of(connection())
    assert settings.http.base_url == "https://api.clienttoolbox.com"
    assert (settings.account_id, settings.user_id, settings.user_password) == ("greatwidgets", "john1970", PASSWORD)
    assert settings.key_in_header is False
    assert PASSWORD not in repr(settings)


def test_what_a_connection_can_say() -> None:
    settings = StickyStreetHook.settings_of(
        connection(
            host="loyalty.example.com",
            port=8443,
            password="fake-key",
            extra={
                "account_id": 4711,
                "key_in_header": "true",
                "connect_timeout": "5",
                "read_timeout": 600,
                "retry_limit": 1,
                "total_timeout": 3600,
            },
        )
    )
    assert settings.http.base_url == "https://loyalty.example.com:8443"
    assert (settings.account_id, settings.key_in_header) == ("4711", True)
    assert (settings.http.connect_timeout, settings.http.read_timeout) == (5.0, 600.0)
    assert (settings.http.retry_limit, settings.http.total_timeout) == (1, 3600.0)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"extra": {}}, "extra account_id: missing"),
        ({"extra": {"account_id": " "}}, "extra account_id: missing"),
        ({"login": ""}, "login: the user_id is missing"),
        ({"login": "john\ud800"}, "login: holds half of a surrogate pair"),
        ({"password": ""}, "password: the user_password, or the access key, is missing"),
        ({"extra": {"account_id": "x", "key_in_header": True}}, "password: the access key holds blanks"),
        ({"extra": {"account_id": "x", "key_in_header": "perhaps"}}, "extra key_in_header: expected true or false"),
        ({"host": "https://example.com/api.php"}, "reports are asked for at the address itself"),
        ({"host": "http://example.com"}, "plain http would send the credentials unencrypted"),
        ({"extra": {"account_id": "x", "read_timeout": 0}}, "extra read_timeout"),
    ],
)
def test_a_bad_field_is_named_and_no_secret_shown(fields: Any, words: str) -> None:
    with pytest.raises(OptimoveInputError) as caught:
        StickyStreetHook.settings_of(connection(**fields))
    assert words in str(caught.value)
    assert PASSWORD not in str(caught.value)


def test_the_form_has_a_field_for_each_extra() -> None:
    assert {"account_id", "key_in_header", "read_timeout", "proxies"} <= extra_fields("sticky_street")


@pytest.mark.parametrize("output", ["XML", "JSON"])
def test_customers(sticky_street_sandbox: StickyStreetSandbox, output: Any) -> None:
    hook = StickyStreetHook()
    found = list(hook.all_customers(last=990, output=output))
    assert [customer["id"] for customer in found] == [str(number) for number in range(991, 1001)]
    assert hook.get_conn() is hook.client


def test_the_key_in_the_header(sticky_street_sandbox: StickyStreetSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_STICKY_STREET_KEY", sticky_street_sandbox.key_connection)
    assert len(list(StickyStreetHook("sticky_street_key").all_customers(last="998"))) == 2


def test_errors_that_a_retry_cannot_mend_end_the_task(sticky_street_sandbox: StickyStreetSandbox) -> None:
    hook = StickyStreetHook()
    with pytest.raises(AirflowFailException):
        hook.all_customers(last=1, selected_campaigns=["5"])
    sticky_street_sandbox.account_id = "other"
    with pytest.raises(AirflowFailException, match="Invalid account_id"):
        next(hook.all_customers())


def test_a_connection_that_is_not_valid_ends_the_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_STICKY_STREET_DEFAULT", json.dumps({"conn_type": "sticky_street"}))
    with pytest.raises(AirflowFailException, match="account_id: missing"):
        _ = StickyStreetHook().client
    worked, said = StickyStreetHook().test_connection()
    assert not worked
    assert "login: the user_id is missing" in said


def test_the_test_of_a_connection(sticky_street_sandbox: StickyStreetSandbox) -> None:
    host = f"127.0.0.1:{sticky_street_sandbox.port}"
    expected = f"{host} answers; it accepts user sandbox of account sandbox-account"
    assert StickyStreetHook().test_connection() == (True, expected)
    # Nobody's data came for that.
    (call,) = sticky_street_sandbox.calls
    assert call.fields["selected_campaigns"] == "000000000000"
    sticky_street_sandbox.user_password = "fake-new-password"
    assert StickyStreetHook().test_connection() == (
        False,
        f"{host}: customers_all: Invalid user_id or user_password (is it an access key? then key_in_header must be on)"
        " (HTTP 200)",
    )


def test_the_test_of_a_connection_to_nowhere(
    sticky_street_sandbox: StickyStreetSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    sticky_street_sandbox.stop()
    worked, said = StickyStreetHook().test_connection()
    assert not worked
    assert "cannot be reached: is the host right" in said
