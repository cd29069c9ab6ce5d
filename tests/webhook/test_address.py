"""The URL that is registered, and which registered one is ours."""

from __future__ import annotations

from urllib.parse import parse_qsl, quote, urlsplit

import pytest

from airflow_provider_optimove.webhook.address import (
    is_like_ours,
    listener_address,
    listener_url,
    same_address,
    same_listener,
    secrets_in,
)

SECRET = "fake-secret+of/the?tests&=% 1"
OURS = listener_url("https://airflow.example.com", "optimove_default", 13, SECRET)


@pytest.mark.parametrize("base_url", ["https://a.example.com/air", "https://a.example.com/air/"])
def test_the_url(base_url: str) -> None:
    url = urlsplit(listener_url(base_url, "optimove_default", 13, SECRET))
    assert (url.scheme, url.netloc) == ("https", "a.example.com")
    assert url.path == "/air/optimove/events/optimove_default/13"
    assert parse_qsl(url.query) == [("token", SECRET)]
    assert url.fragment == ""


def test_a_connection_with_a_slash() -> None:
    assert "/events/a%2Fb%3F/13?" in listener_url("https://a.example.com", "a/b?", 13, SECRET)


@pytest.mark.parametrize("written", [OURS, quote(OURS, safe=""), quote(OURS), f" {OURS}\n"])
def test_the_same_listener(written: str) -> None:
    assert same_listener(OURS, written)
    assert same_listener(written, OURS)
    assert same_address(written, OURS)


@pytest.mark.parametrize(
    ("theirs", "is_at_our_address"),
    [
        (listener_url("https://airflow.example.com", "optimove_default", 13, "fake-older-secret"), True),
        (OURS.upper(), False),
        (OURS.replace("https://AIRFLOW", "HTTPS://airflow") + "x", True),
        (listener_url("https://airflow.example.com", "optimove_default", 4, SECRET), False),
        (listener_url("https://airflow.example.com", "other", 13, SECRET), False),
        (listener_url("http://airflow.example.com", "optimove_default", 13, SECRET), False),
        (listener_url("https://airflow.example.com:8443", "optimove_default", 13, SECRET), False),
        ("https://airflow.example.com", False),
        ("http://[", False),
        ("", False),
    ],
)
def test_others(theirs: str, is_at_our_address: bool) -> None:
    assert not same_listener(OURS, theirs)
    assert same_address(OURS, theirs) is is_at_our_address
    assert same_address(quote(theirs, safe=""), OURS) is is_at_our_address


@pytest.mark.parametrize(
    ("url", "is_it"),
    [
        (OURS, True),
        (quote(OURS, safe=""), True),
        ("http://old.example.com:8080/team/optimove/events/optimove_default/13?token=fake", True),
        ("https://old.example.com/optimove/events/optimove_default/13", True),
        ("https://old.example.com/optimove/events/optimove_default/5", False),
        ("https://old.example.com/optimove/events/other/13", False),
        ("https://old.example.com/optimove/events/optimove_default/13/x", False),
        ("https://old.example.com/not-optimove/events/optimove_default/13", False),
        ("https://old.example.com/?/optimove/events/optimove_default/13", False),
        ("", False),
    ],
)
def test_listeners_like_ours(url: str, is_it: bool) -> None:
    assert is_like_ours(url, "optimove_default", 13) is is_it


def test_the_address_has_no_secret() -> None:
    address = listener_address("https://airflow.example.com", "a/b?", 13)
    assert "?" not in address
    assert same_address(address, listener_url("https://airflow.example.com", "a/b?", 13, SECRET))
    assert is_like_ours(address, "a/b?", 13)


def test_the_host_is_compared_without_case() -> None:
    assert same_listener(OURS, OURS.replace("https://airflow", "HTTPS://Airflow"))


@pytest.mark.parametrize(
    ("written", "secrets"),
    [
        ("fake-secret-of-tests", ("fake-secret-of-tests",)),
        (" fake-secret-of-tests\n fake-older-secret ", ("fake-secret-of-tests", "fake-older-secret")),
        ("too-short fake-secret-of-tests", ("fake-secret-of-tests",)),
        ("15-characters..", ()),
        ("16-characters...", ("16-characters...",)),
        ("", ()),
        (None, ()),
        (1234567890123456, ()),
        (["fake-secret-of-tests"], ()),
    ],
)
def test_secrets(written: object, secrets: tuple[str, ...]) -> None:
    assert secrets_in(written) == secrets
