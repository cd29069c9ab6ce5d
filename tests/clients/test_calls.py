"""What the clients of all systems do alike with a call; Optimove's client has tests of its own."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_optimove.clients.answers import Operation, explanation, success_of
from airflow_provider_optimove.clients.calls import Fetched, SystemClient, SystemSettings
from airflow_provider_optimove.clients.http import HttpRequest, HttpSettings
from airflow_provider_optimove.exceptions import NetmeraError, RemoteSystemError, SystemBesideError
from airflow_provider_optimove.hooks.task_errors import ending_the_task

if TYPE_CHECKING:
    from tests.clients.conftest import Clock, LocalServers

SECRET = "fake/secret+1"
PUSH = Operation("Netmera", "push", repeatable=False, twice="push twice")
LOOK = Operation("Netmera", "look", repeatable=True)


@dataclass(frozen=True)
class Settings(SystemSettings):
    @property
    def secrets(self) -> list[str | None]:
        return [SECRET, None, ""]


class Client(SystemClient[Settings]):
    """Sends one kind of request, and reads answers as text."""

    def __init__(self, url: str, **options: Any) -> None:
        super().__init__(Settings(HttpSettings(url, read_timeout=5)), **options)

    def call(self, operation: Operation = PUSH, *, reads: bool = False) -> Fetched:
        request = HttpRequest("POST", f"event/{SECRET}", body=b"{}")
        with self._translated():
            return self._exchange(
                operation.name,
                request,
                lambda outcome: explanation(success_of(operation, outcome, NetmeraError).body).text,
                reads=reads,
            )


def failed(url: str, operation: Operation = PUSH, **options: Any) -> tuple[SystemBesideError, Client]:
    with Client(url, **options) as client, pytest.raises(SystemBesideError) as caught:
        client.call(operation)
    return caught.value, client


def test_a_success(serve: LocalServers) -> None:
    server = serve(serve.answering(body=b"done"))
    with Client(server.url) as client:
        fetched = client.call()
    assert (fetched.answer, fetched.repeated, client.calls_made) == ("done", False, 1)
    assert repr(client) == f"Client({server.url!r})"


def test_a_write_is_not_sent_twice(serve: LocalServers, clock: Clock) -> None:
    server = serve(serve.reset)
    error, client = failed(server.url)
    assert error.may_have_happened
    assert client.may_have_happened
    assert len(server.received) == 1
    assert clock.naps == []


def test_a_write_that_surely_did_not_happen_is(serve: LocalServers, clock: Clock) -> None:
    server = serve(serve.answering(429), serve.answering(429), serve.answering(body=b"done"))
    with Client(server.url) as client:
        fetched = client.call()
    assert (fetched.answer, fetched.repeated, client.calls_made) == ("done", False, 3)
    assert len(clock.naps) == 2


def test_a_refusal_after_that_leaves_no_doubt(serve: LocalServers, clock: Clock) -> None:
    server = serve(serve.answering(429), serve.answering(400, b"bad campaign"))
    error, client = failed(server.url)
    assert str(error) == "push: bad campaign (tried 2 times) (HTTP 400)"
    assert not error.may_have_happened
    assert not client.may_have_happened


def test_what_is_harmless_is_sent_again(serve: LocalServers, clock: Clock) -> None:
    server = serve(serve.reset, serve.answering(503), serve.answering(body=b"seen"))
    with Client(server.url) as client:
        fetched = client.call(LOOK)
    assert (fetched.answer, fetched.repeated, client.calls_made) == ("seen", True, 3)


def test_a_refusal_of_a_repeated_write_does_not_settle_what_became_of_the_first(
    serve: LocalServers, clock: Clock
) -> None:
    for first in (serve.answering(503), serve.reset):
        error, client = failed(serve(first, serve.answering(400, b"bad")).url, replace(PUSH, repeatable=True))
        assert str(error) == "push: bad (tried 2 times) (HTTP 400)"
        assert error.may_have_happened
        assert client.may_have_happened


def test_a_read_takes_no_effect(serve: LocalServers, clock: Clock) -> None:
    with Client(serve(serve.reset).url) as client:
        for reads in (False, True):
            with pytest.raises(NetmeraError) as caught:
                client.call(LOOK, reads=reads)
            assert (caught.value.may_have_happened, client.may_have_happened) == (not reads, not reads)
    server = serve(serve.answering(503), serve.answering(200, b"seen"))
    with Client(server.url) as client:
        assert not client.call(LOOK, reads=True).repeated


@pytest.mark.parametrize("reads", [True, False])
def test_a_read_that_is_interrupted_takes_no_effect(
    serve: LocalServers, monkeypatch: pytest.MonkeyPatch, reads: bool
) -> None:
    def interrupted(*arguments: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("requests.Session.request", interrupted)
    with Client(serve().url) as client, pytest.raises(KeyboardInterrupt):
        client.call(LOOK, reads=reads)
    assert client.may_have_happened is not reads


def test_errors_hold_no_secrets(serve: LocalServers, clock: Clock) -> None:
    told = json.dumps({"message": f"no {SECRET}, not even as {json.dumps(SECRET)} or fake%2Fsecret%2B1"})
    error, _ = failed(serve(serve.answering(400, told.encode())).url)
    seen: BaseException | None = error
    while seen is not None:
        for form in (SECRET, "fake%2Fsecret%2B1", "fake%2fsecret%2b1"):
            assert form not in f"{seen} {seen!r} {seen.args}"
        seen = seen.__context__
    assert str(error).count("***") == 3


def test_errors_are_translated(serve: LocalServers, clock: Clock) -> None:
    error, _ = failed(serve(serve.answering(400, b"bad")).url, translate_error=ending_the_task)
    assert type(error) is not NetmeraError
    assert isinstance(error, NetmeraError)
    assert (error.message, error.function, error.status, error.permanent) == ("bad", "push", 400, True)
    passing, _ = failed(serve(serve.answering(503)).url, LOOK, translate_error=ending_the_task)
    assert type(passing) is NetmeraError


def test_the_next_call_starts_without_doubt(serve: LocalServers, clock: Clock) -> None:
    server = serve(serve.reset, serve.answering(400, b"bad"))
    with Client(server.url) as client:
        for doubtful in (True, False):
            with pytest.raises(RemoteSystemError):
                client.call()
            assert client.may_have_happened is doubtful
