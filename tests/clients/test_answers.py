"""What follows from an answer of a system beside Optimove. The words of errors are tested with Optimove's protocol."""

from __future__ import annotations

from dataclasses import replace

import pytest

from airflow_provider_optimove.clients.answers import Operation, success_of
from airflow_provider_optimove.clients.http import ConnectionFailure, HttpAnswer, TryAgain
from airflow_provider_optimove.exceptions import NetmeraError, SystemBesideError

READ = Operation("Netmera", "look", repeatable=True)
WRITE = Operation("Netmera", "push", repeatable=False, twice="push twice")
OPERATIONS = [READ, WRITE]
LOST = ConnectionFailure("the connection failed", sent=True)
NEVER_SENT = ConnectionFailure("the connection was refused", sent=False)
HOPELESS = ConnectionFailure("the certificate is not accepted", sent=False, passing=False)


def answer(status: int, body: bytes = b"", **headers: str) -> HttpAnswer:
    return HttpAnswer(status, "Said", {name.replace("_", "-"): value for name, value in headers.items()}, body)


def error_of(operation: Operation, outcome: HttpAnswer | ConnectionFailure) -> SystemBesideError:
    """The error that ends a call."""
    with pytest.raises(NetmeraError) as caught:
        success_of(operation, outcome, NetmeraError)
    assert caught.value.function == operation.name
    return caught.value


def passing_error_of(
    operation: Operation, outcome: HttpAnswer | ConnectionFailure
) -> tuple[NetmeraError, float | None]:
    """The error that does not end a call yet, and how long the server asked to wait."""
    with pytest.raises(TryAgain) as caught:
        success_of(operation, outcome, NetmeraError)
    assert isinstance(caught.value.error, NetmeraError)
    return caught.value.error, caught.value.after


@pytest.mark.parametrize("status", [200, 201, 202, 204])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_2xx_is_a_success(operation: Operation, status: int) -> None:
    told = answer(status, b"whatever")
    assert success_of(operation, told, NetmeraError) is told


@pytest.mark.parametrize("outcome", [NEVER_SENT, answer(429, b"slowly", Retry_After="7")])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_what_surely_did_not_happen_is_sent_again(
    operation: Operation, outcome: HttpAnswer | ConnectionFailure
) -> None:
    error, after = passing_error_of(operation, outcome)
    assert not error.permanent
    assert not error.may_have_happened
    assert after == (7.0 if isinstance(outcome, HttpAnswer) else None)


@pytest.mark.parametrize("outcome", [LOST, *(answer(status, b"down") for status in (408, 425, 500, 503))])
def test_what_may_have_happened_is_sent_again_only_if_that_is_harmless(outcome: HttpAnswer | ConnectionFailure) -> None:
    error, _ = passing_error_of(READ, outcome)
    assert not error.permanent
    doubt = error_of(WRITE, outcome)
    assert doubt.permanent
    assert doubt.may_have_happened
    assert "may have taken effect or not" in str(doubt)
    assert "a second one may push twice" in str(doubt)
    assert doubt.args == (doubt.message,)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_what_can_never_be_sent_is_not_tried_again_here(operation: Operation) -> None:
    error = error_of(operation, HOPELESS)
    assert str(error) == f"{operation.name}: the certificate is not accepted"
    # Airflow may: somebody may put the certificate right meanwhile.
    assert not error.permanent
    assert not error.may_have_happened


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize(
    ("status", "said"),
    [
        (400, "no such campaign"),
        (401, "the credentials are not accepted: no such campaign"),
        (403, "not permitted: no such campaign"),
        (404, "no such address, or nothing there: no such campaign"),
        (422, "no such campaign"),
    ],
)
def test_a_refusal_is_final(operation: Operation, status: int, said: str) -> None:
    error = error_of(operation, answer(status, b'{"error": "no such campaign"}'))
    assert str(error) == f"{operation.name}: {said} (HTTP {status})"
    assert error.status == status
    assert error.permanent
    assert not error.may_have_happened


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_redirect_is_not_followed(operation: Operation) -> None:
    error = error_of(operation, answer(302, Location="https://elsewhere.example/path?with=secret"))
    assert "redirected to https://elsewhere.example/path, which is not followed" in str(error)
    assert "secret" not in str(error)
    assert not error.may_have_happened


def test_a_write_that_leads_elsewhere_may_have_been_taken() -> None:
    elsewhere = answer(303, Location="https://elsewhere.example/created")
    for write in (WRITE, replace(WRITE, repeatable=True)):
        doubt = error_of(write, elsewhere)
        assert (doubt.permanent, doubt.may_have_happened) == (True, True)
        assert "redirected to https://elsewhere.example/created" in str(doubt)
        assert "a second one may push twice" in str(doubt)
    read = error_of(READ, elsewhere)
    assert (read.permanent, read.may_have_happened) == (False, False)


def test_a_page_of_somebody_else_is_named() -> None:
    error = error_of(READ, answer(403, b"<html><body><h1>Blocked</h1></body></html>"))
    assert "Blocked [an HTML page: a firewall or proxy may have answered in Netmera's place]" in str(error)
