"""The HTTP client: what really happens on a connection, and when a request is sent again."""

from __future__ import annotations

import contextlib
import gzip
import html
import json
import logging
import socket
import ssl
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus

import pytest
import requests
import requests_mock
import urllib3
from requests.auth import AuthBase

from airflow_provider_optimove import __version__
from airflow_provider_optimove.clients.http import (
    USER_AGENT,
    ConnectionFailure,
    HttpAnswer,
    HttpClient,
    HttpRequest,
    HttpSettings,
    Redactor,
    StopReading,
    TryAgain,
)

if TYPE_CHECKING:
    from tests.clients.conftest import Clock, LocalServers

GET = HttpRequest("GET", "actions/GetAllActions", (("Date", "2026-11-20"), ("Names", "a;b")))
POST = HttpRequest("POST", "integrations/AddPromotions", (), b'[{"PromoCode":"A"}]')
Outcome = HttpAnswer | ConnectionFailure


class Key(AuthBase):
    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["X-API-KEY"] = "fake-key-1"
        return request


def outcome_of(base_url: str, request: HttpRequest = GET, *, auth: AuthBase | None = None, **settings: Any) -> Outcome:
    """What one attempt brings."""
    client = HttpClient(HttpSettings(base_url, **settings), Redactor(["fake-key-1"]))
    with contextlib.closing(client):
        return exchanged(client, request, auth=auth)


def exchanged(client: HttpClient, request: HttpRequest = GET, *, auth: AuthBase | None = None) -> Outcome:
    return client.exchange(request, lambda outcome: outcome, name="Name", auth=auth, deadline=client.deadline())


def failure_of(base_url: str, request: HttpRequest = GET, **settings: Any) -> ConnectionFailure:
    outcome = outcome_of(base_url, request, **settings)
    assert isinstance(outcome, ConnectionFailure), outcome
    return outcome


# What is sent


def test_a_request_arrives(serve: LocalServers) -> None:
    server = serve()
    outcome_of(f"{server.url}/base", GET)
    outcome_of(server.url, POST, auth=Key())
    get, post = server.received
    assert (get.verb, get.target, get.body) == ("GET", "/base/actions/GetAllActions?Date=2026-11-20&Names=a%3Bb", b"")
    assert (post.verb, post.target, post.body) == ("POST", "/integrations/AddPromotions", POST.body)
    assert post.headers["X-API-KEY"] == "fake-key-1"
    for received in server.received:
        assert received.headers["User-Agent"] == USER_AGENT
        assert received.headers["Accept"] == "application/json"
        assert received.headers["Content-Type"] == "application/json"


def test_a_request_may_have_headers_of_its_own(serve: LocalServers) -> None:
    server = serve()
    form = HttpRequest("POST", "", body=b"report=customers_all", headers={"Content-Type": "a/form", "X-Key": "fake"})
    outcome_of(server.url, form, auth=Key())
    (received,) = server.received
    assert (received.target, received.body) == ("/", b"report=customers_all")
    assert received.headers["Content-Type"] == "a/form"
    assert (received.headers["X-Key"], received.headers["X-API-KEY"]) == ("fake", "fake-key-1")
    assert received.headers["User-Agent"] == USER_AGENT
    # Where the keys of some systems are.
    assert "fake" not in repr(form)


def test_the_user_agent_says_which_version_calls() -> None:
    assert USER_AGENT.startswith(f"airflow-provider-optimove/{__version__} ")


def test_an_answer_arrives(serve: LocalServers) -> None:
    answer = outcome_of(serve(serve.answering(404, b"not here", Retry_After="5")).url)
    assert isinstance(answer, HttpAnswer)
    assert (answer.status, answer.reason, answer.body) == (404, "Said", b"not here")
    assert answer.headers["retry-after"] == "5"
    assert "not here" not in repr(answer)


LONG = json.dumps([{"CustomerID": str(number)} for number in range(100_000)]).encode()


def test_bodies_in_every_transfer_form(serve: LocalServers) -> None:
    packed = gzip.compress(LONG)
    for reply in (
        serve.answering(body=LONG),
        serve.answering(body=packed, Content_Encoding="gzip"),
        serve.chunked(LONG[:10], LONG[10:70_000], LONG[70_000:]),
        serve.chunked(packed[:10], packed[10:], Content_Encoding="gzip"),
    ):
        answer = outcome_of(serve(reply).url)
        assert isinstance(answer, HttpAnswer)
        assert (answer.body, answer.content) == (LONG, None)


def test_equal_bodies_have_equal_checksums_however_they_were_cut(serve: LocalServers) -> None:
    packed = gzip.compress(LONG)
    replies = [
        serve.answering(body=LONG),
        serve.answering(203, LONG),
        serve.answering(body=packed, Content_Encoding="gzip"),
        serve.chunked(LONG[:1], LONG[1:70_000], LONG[70_000:]),
        serve.chunked(packed[:10], packed[10:], Content_Encoding="gzip"),
    ]
    answers = [outcome_of(serve(reply).url) for reply in replies]
    answers += [read_by(Reader, serve(reply).url) for reply in replies]
    checksums = {answer.checksum for answer in answers if isinstance(answer, HttpAnswer)}
    assert (len(answers), len(checksums)) == (10, 1)


def test_other_bodies_have_other_checksums(serve: LocalServers) -> None:
    bodies = [b"", b"[]", b"[] ", b" []", b"][", LONG, LONG[:-1], LONG + b"\n", LONG[:-2] + b" ]", b"0", b"\x00"]
    # The last has the CRC-32 of no bytes at all.
    bodies += [b"\xff\xff\xff\xff", b"\x00\x00", b"\x9d\x0a\xd9\x6d"]
    answers = [outcome_of(serve(serve.answering(body=body)).url) for body in bodies]
    checksums = {answer.checksum for answer in answers if isinstance(answer, HttpAnswer)}
    assert len(checksums) == len(bodies)


class Reader:
    """Keeps what it is given, and says what it made of it."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    def read(self, piece: bytes) -> None:
        self.pieces.append(piece)

    def end(self) -> tuple[bytes, Any]:
        return b"", b"".join(self.pieces)


def read_by(reader: Any, base_url: str, judge: Any = lambda outcome: outcome, **settings: Any) -> Any:
    client = HttpClient(HttpSettings(base_url, **settings), Redactor(()))
    with contextlib.closing(client):
        return client.exchange(GET, judge, name="Name", auth=None, deadline=client.deadline(), body_reader=reader)


class Readers:
    """Makes readers, and knows them all."""

    def __init__(self) -> None:
        self.made: list[Reader] = []

    def __call__(self) -> Reader:
        self.made.append(Reader())
        return self.made[-1]


def test_a_reader_gets_a_body_as_it_arrives(serve: LocalServers) -> None:
    packed = gzip.compress(LONG)
    for reply in (
        serve.answering(body=LONG),
        serve.chunked(LONG[:10], LONG[10:70_000], LONG[70_000:]),
        serve.chunked(packed[:10], packed[10:], Content_Encoding="gzip"),
    ):
        readers = Readers()
        answer = read_by(readers, serve(reply).url)
        (reader,) = readers.made
        assert (answer.status, answer.body, answer.content) == (200, b"", LONG)
        assert len(reader.pieces) > 1
        assert "CustomerID" not in repr(answer)


def test_a_reader_may_leave_a_body_as_it_is(serve: LocalServers) -> None:
    class Undecided(Reader):
        def end(self) -> tuple[bytes, Any]:
            return b"".join(self.pieces), None

    answer = read_by(Undecided, serve(serve.answering(body=LONG)).url)
    assert (answer.body, answer.content) == (LONG, None)


@pytest.mark.parametrize("status", [201, 202, 203, 206, 302, 400, 404, 500])
def test_only_a_200_is_read_as_it_arrives(serve: LocalServers, status: int) -> None:
    readers = Readers()
    answer = read_by(readers, serve(serve.answering(status, LONG)).url)
    assert (answer.status, answer.content) == (status, None)
    assert LONG.startswith(answer.body)
    assert readers.made == []


@pytest.mark.parametrize("status", [201, 202, 206, 302, 400, 404, 500])
def test_of_an_answer_without_data_only_the_beginning_is_read(serve: LocalServers, status: int) -> None:
    server = serve(serve.answering(status, b"<a>" * 5_000_000), serve.answering(body=b"next"))
    client = HttpClient(HttpSettings(server.url), Redactor([]))
    with contextlib.closing(client):
        answer, following = exchanged(client), exchanged(client)
    assert isinstance(answer, HttpAnswer)
    assert answer.status == status
    assert len(answer.body) < 3_000_000
    assert isinstance(following, HttpAnswer)
    assert following.body == b"next"


def test_a_reader_may_stop(serve: LocalServers) -> None:
    class Impatient(Reader):
        def read(self, piece: bytes) -> None:
            super().read(piece)
            raise StopReading

    server = serve(serve.answering(body=b"a" * 5_000_000), serve.answering(body=b"second"))
    client = HttpClient(HttpSettings(server.url), Redactor([]))
    with contextlib.closing(client):
        exchange = client.exchange(
            GET,
            lambda outcome: outcome,
            name="Name",
            auth=None,
            deadline=client.deadline(),
            body_reader=Impatient,
        )
        assert isinstance(exchange, HttpAnswer)
        assert 0 < len(exchange.content) < 5_000_000
        # What was left unread is not the next answer.
        following = exchanged(client)
    assert isinstance(following, HttpAnswer)
    assert following.body == b"second"
    assert server.connections == 2


NOT_READABLE = {"Content_Encoding": "gzip"}


@pytest.mark.parametrize("status", [200, 201, 202])
@pytest.mark.parametrize("case", ["cut", "no gzip", "silent", "whole"])
def test_where_the_status_decides_no_body_is_missed(serve: LocalServers, status: int, case: str) -> None:
    def headless(connection: socket.socket) -> None:
        connection.sendall(f"HTTP/1.1 {status} OK\r\nContent-Length: 100\r\n\r\n".encode())
        if case == "silent":
            connection.recv(1)
        raise ConnectionError

    replies = {
        "no gzip": serve.answering(status, b"no gzip", **NOT_READABLE),
        "whole": serve.answering(status, b"all of it"),
    }
    server = serve(replies.get(case, headless), serve.answering(status, b"the next"))
    client = HttpClient(HttpSettings(server.url, read_timeout=0.5), Redactor([]))
    settled = replace(POST, status_decides=True)
    with contextlib.closing(client):
        answers = [exchanged(client, settled), exchanged(client)]
    assert [(answer.status, answer.body) for answer in answers if isinstance(answer, HttpAnswer)] == [
        (status, b"all of it" if case == "whole" else b""),
        (status, b"the next"),
    ]


def test_where_the_status_decides_a_failure_is_still_one(serve: LocalServers) -> None:
    for reply in (serve.reset, serve.silent(1)):
        outcome = outcome_of(serve(reply).url, replace(POST, status_decides=True), read_timeout=0.5)
        assert isinstance(outcome, ConnectionFailure)
    refused = outcome_of(serve(serve.answering(400, b"no", **NOT_READABLE)).url, replace(POST, status_decides=True))
    assert isinstance(refused, ConnectionFailure)


def test_every_attempt_has_a_reader_of_its_own(serve: LocalServers, clock: Clock) -> None:
    server = serve(
        serve.truncated(b"the first", 100),
        serve.answering(500, b"the second"),
        serve.chunked(b"the ", b"third", whole=False),
        serve.reset,
        serve.answering(body=b"the last"),
    )
    readers = Readers()

    def judge(outcome: Outcome) -> HttpAnswer:
        if isinstance(outcome, ConnectionFailure) or outcome.status != 200:
            raise TryAgain(Passing("failed"))
        return outcome

    answer = read_by(readers, server.url, judge, retry_limit=4)
    assert (answer.body, answer.content) == (b"", b"the last")
    assert [b"".join(reader.pieces) for reader in readers.made] == [b"the first", b"the third", b"the last"]
    assert len(server.received) == 5


@pytest.mark.parametrize("form", ["length", "chunks", "gzip", "empty", "error"])
def test_many_calls_take_one_connection(serve: LocalServers, form: str) -> None:
    server = serve(
        {
            "length": serve.answering(body=LONG),
            "chunks": serve.chunked(LONG[:5], LONG[5:]),
            "gzip": serve.answering(body=gzip.compress(LONG), Content_Encoding="gzip"),
            "empty": serve.answering(body=b""),
            "error": serve.answering(400, b"no"),
        }[form]
    )
    client = HttpClient(HttpSettings(server.url), Redactor([]))
    with contextlib.closing(client):
        for _ in range(5):
            assert isinstance(exchanged(client), HttpAnswer)
    assert (len(server.received), server.connections, client.requests_sent) == (5, 1, 5)


def test_it_can_be_used_after_it_was_closed(serve: LocalServers) -> None:
    server = serve()
    client = HttpClient(HttpSettings(server.url), Redactor([]))
    for _ in range(2):
        assert isinstance(exchanged(client), HttpAnswer)
        client.close()
    assert server.connections == 2


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("request_", [GET, POST], ids=["GET", "POST"])
def test_a_redirect_is_not_followed(serve: LocalServers, status: int, request_: HttpRequest) -> None:
    elsewhere = serve()
    server = serve(serve.answering(status, b"", Location=f"{elsewhere.url}/login"))
    answer = outcome_of(server.url, request_, auth=Key())
    assert isinstance(answer, HttpAnswer)
    assert answer.status == status
    assert (len(server.received), elsewhere.connections) == (1, 0)


@pytest.mark.parametrize("auth", [None, Key()], ids=["without", "with key"])
def test_credentials_of_a_netrc_file_are_not_used(
    serve: LocalServers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, auth: AuthBase | None
) -> None:
    (tmp_path / "netrc").write_text("default login somebody password fake-password-2\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    server = serve()
    assert requests.get(server.url, timeout=5).request.headers["Authorization"], "the file is one that counts"
    outcome_of(server.url, auth=auth)
    assert "Authorization" not in server.received[-1].headers


def test_a_proxy_is_used(serve: LocalServers) -> None:
    proxy = serve()
    assert isinstance(outcome_of("http://api5.optimove.invalid", proxies={"http": proxy.url}), HttpAnswer)
    assert proxy.received[0].target.startswith("http://api5.optimove.invalid/actions/")


def test_timeouts_are_apart_and_end_with_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def request(*args: Any, **options: Any) -> Any:
        seen.append(options["timeout"])
        raise requests.ConnectTimeout

    monkeypatch.setattr(requests.Session, "request", request)
    failure_of("http://127.0.0.1", connect_timeout=3, read_timeout=200)
    failure_of("http://127.0.0.1", connect_timeout=30, read_timeout=200, total_timeout=20)
    assert seen[0] == (3, 200)
    assert seen[1] == pytest.approx((20, 20), abs=0.5)


# What may go wrong


def test_a_refused_connection_surely_brought_nothing(serve: LocalServers) -> None:
    failure = failure_of(serve.refusing_url())
    assert (failure.sent, failure.passing) == (False, True)
    assert failure.message.startswith("the connection to 127.0.0.1 failed: ")
    assert failure.message.endswith("Connection refused")
    assert "HTTPConnection" not in failure.message


def test_an_unknown_host_surely_got_nothing() -> None:
    failure = failure_of("http://api5.optimove.invalid")
    assert (failure.sent, failure.passing) == (False, True)
    assert "object at" not in failure.message


def test_a_connection_that_takes_too_long_surely_brought_nothing() -> None:
    with requests_mock.Mocker() as mock:
        cause = urllib3.exceptions.ConnectTimeoutError("timed out")
        timeout = requests.ConnectTimeout(
            urllib3.exceptions.MaxRetryError(urllib3.HTTPConnectionPool("127.0.0.1"), "/", cause)
        )
        mock.get(requests_mock.ANY, exc=timeout)
        failure = failure_of("http://127.0.0.1")
    assert (failure.sent, failure.passing) == (False, True)
    assert failure.message == "no connection to 127.0.0.1 in the time allowed"


def test_a_reset_before_the_request_was_read_leaves_doubt(serve: LocalServers) -> None:
    server = serve(resets=1)
    failure = failure_of(server.url, POST)
    assert (failure.sent, failure.passing) == (True, True)
    assert server.received == []


def test_a_reset_after_the_request_was_read_leaves_doubt(serve: LocalServers) -> None:
    server = serve(serve.reset)
    failure = failure_of(server.url, POST)
    assert (failure.sent, failure.passing) == (True, True)
    assert failure.message.startswith("the connection to 127.0.0.1 failed: ")
    assert "object at" not in failure.message
    assert len(server.received) == 1, "it is the client that decides on a repetition"


def test_a_truncated_answer_is_found_out(serve: LocalServers) -> None:
    for reply in (
        serve.truncated(b"[1]", 100),
        serve.truncated(b"", 100),
        serve.chunked(b"[", b"1]", whole=False),
        serve.answering(body=b"no gzip at all", Content_Encoding="gzip"),
    ):
        failure = failure_of(serve(reply).url)
        assert (failure.sent, failure.passing) == (True, True)
        assert failure.message.startswith("the answer broke off: ")


def test_a_silent_server(serve: LocalServers) -> None:
    started = time.monotonic()
    failure = failure_of(serve(serve.silent(5)).url, read_timeout=0.2)
    assert (failure.sent, failure.passing) == (True, True)
    assert failure.message == "no answer from 127.0.0.1 in the time allowed"
    assert time.monotonic() - started < 2


def test_a_server_that_falls_silent_amid_an_answer(serve: LocalServers) -> None:
    started = time.monotonic()
    failure = failure_of(serve(serve.dribbling(5, 2)).url, read_timeout=0.2)
    assert (failure.sent, failure.passing) == (True, True)
    assert time.monotonic() - started < 2


def test_a_slow_server_that_is_never_silent_may_take_its_time(serve: LocalServers) -> None:
    answer = outcome_of(serve(serve.dribbling(0.1, 6)).url, read_timeout=0.4)
    assert isinstance(answer, HttpAnswer)
    assert answer.body == b" " * 6


def test_an_answer_ends_with_the_call_even_when_it_dribbles(serve: LocalServers) -> None:
    started = time.monotonic()
    failure = failure_of(serve(serve.dribbling(0.05, 200)).url, total_timeout=0.4)
    assert failure.message == "the answer took longer than a call may take"
    assert failure.sent
    assert time.monotonic() - started < 2


def test_nothing_is_sent_when_the_time_is_over(serve: LocalServers) -> None:
    server = serve()
    failure = failure_of(server.url, total_timeout=0)
    assert (failure.sent, failure.passing) == (False, False)
    assert server.connections == 0


def test_a_proxy_that_fails_surely_passed_nothing_on(serve: LocalServers) -> None:
    proxy = serve.refusing_url().replace("http://", "http://somebody:fake-key-1@")
    failure = failure_of("http://api5.optimove.invalid", proxies={"http": proxy})
    assert (failure.sent, failure.passing) == (False, True)
    assert "proxy" in failure.message
    assert "fake-key-1" not in failure.message


@pytest.mark.parametrize("base_url", ["http://", "no-scheme", "http://127.0.0.1:port", "ftp://127.0.0.1"])
def test_an_address_that_is_none(base_url: str) -> None:
    failure = failure_of(base_url)
    assert (failure.sent, failure.passing) == (False, False)
    assert failure.message.startswith("the request could not be sent: ")


def test_certificates_are_checked(serve: LocalServers, certificate: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = serve(context=context)
    failure = failure_of(server.url)
    assert (failure.sent, failure.passing) == (False, False)
    assert failure.message.startswith("the certificate of 127.0.0.1 is not accepted: ")
    assert server.received == []
    assert isinstance(outcome_of(server.url, verify=str(certificate)), HttpAnswer)


def test_a_server_that_does_not_speak_tls(serve: LocalServers) -> None:
    failure = failure_of(serve().url.replace("http://", "https://"))
    assert (failure.sent, failure.passing) == (False, True)
    assert "SSL" in failure.message
    assert "object at" not in failure.message


def test_a_redirect_to_what_is_no_address_is_an_answer(serve: LocalServers) -> None:
    answer = outcome_of(serve(serve.answering(302, b"moved", Location="http://[bad")).url)
    assert isinstance(answer, HttpAnswer)
    assert (answer.status, answer.body) == (302, b"moved")


# Sending again


class Passing(Exception):
    """An error that may pass."""


class Judge:
    """Refuses the first outcomes."""

    def __init__(self, refusals: int, after: float | None = None) -> None:
        self.refusals = refusals
        self.after = after
        self.seen: list[Outcome] = []

    def __call__(self, outcome: Outcome) -> str:
        self.seen.append(outcome)
        if len(self.seen) <= self.refusals:
            raise TryAgain(Passing(f"refused with fake-key-1 for the {len(self.seen)}. time"), self.after)
        return "done"


@pytest.fixture
def mocked() -> Iterator[requests_mock.Mocker]:
    with requests_mock.Mocker() as mock:
        mock.get(requests_mock.ANY, text="[]")
        yield mock


def send(judge: Judge, **settings: Any) -> str:
    client = HttpClient(HttpSettings("http://127.0.0.1", **settings), Redactor(["fake-key-1"]))
    return client.exchange(GET, judge, name="GetAllActions", auth=Key(), deadline=client.deadline())


@pytest.mark.parametrize("refusals", [0, 1, 4])
def test_it_is_sent_until_the_judge_is_satisfied(mocked: requests_mock.Mocker, clock: Clock, refusals: int) -> None:
    judge = Judge(refusals)
    assert send(judge, retry_limit=4) == "done"
    assert len(mocked.request_history) == len(judge.seen) == refusals + 1
    assert len(clock.naps) == refusals
    assert all(sent.headers["X-API-KEY"] == "fake-key-1" for sent in mocked.request_history)


@pytest.mark.parametrize("retry_limit", [0, 1, 4])
def test_it_is_not_sent_more_often_than_allowed(mocked: requests_mock.Mocker, clock: Clock, retry_limit: int) -> None:
    judge = Judge(100)
    with pytest.raises(Passing, match=f"for the {retry_limit + 1}. time"):
        send(judge, retry_limit=retry_limit)
    assert len(mocked.request_history) == retry_limit + 1
    assert len(clock.naps) == retry_limit, "nobody waits after the last attempt"


def test_pauses_grow_and_are_uneven(mocked: requests_mock.Mocker, clock: Clock) -> None:
    for _ in range(20):
        send(Judge(8), retry_limit=8)
    by_attempt = [clock.naps[attempt::8] for attempt in range(8)]
    for pauses, most in zip(by_attempt, [1, 2, 4, 8, 16, 32, 60, 60], strict=True):
        assert most / 2 <= min(pauses) <= max(pauses) <= most
        assert len(set(pauses)) > 1


@pytest.mark.parametrize("after", [0.0, 7.0, 300.0])
def test_it_waits_as_long_as_the_server_asks(mocked: requests_mock.Mocker, clock: Clock, after: float) -> None:
    send(Judge(2, after))
    assert clock.naps == [after, after]


def test_it_does_not_wait_beyond_the_end_of_the_call(mocked: requests_mock.Mocker, clock: Clock) -> None:
    with pytest.raises(Passing, match=r"for the 1\. time"):
        send(Judge(1, after=31.0), total_timeout=30)
    assert clock.naps == []
    assert len(mocked.request_history) == 1


def test_all_attempts_together_fit_into_the_time_of_a_call(mocked: requests_mock.Mocker, clock: Clock) -> None:
    with pytest.raises(Passing):
        send(Judge(1000), retry_limit=1000, total_timeout=1000)
    assert 940 <= sum(clock.naps) < 1000


def test_final_errors_are_final(mocked: requests_mock.Mocker, clock: Clock) -> None:
    def judge(outcome: Outcome) -> None:
        raise LookupError

    client = HttpClient(HttpSettings("http://127.0.0.1"), Redactor([]))
    with pytest.raises(LookupError):
        client.exchange(GET, judge, name="Name", auth=None, deadline=client.deadline())
    assert (len(mocked.request_history), clock.naps) == (1, [])


def test_every_attempt_passes_the_gate(mocked: requests_mock.Mocker, clock: Clock) -> None:
    passed: list[tuple[float, int, int]] = []

    @contextlib.contextmanager
    def gate(deadline: float) -> Iterator[None]:
        before = len(mocked.request_history)
        yield
        passed.append((deadline, before, len(mocked.request_history)))

    client = HttpClient(HttpSettings("http://127.0.0.1"), Redactor([]))
    deadline = client.deadline()
    client.exchange(GET, Judge(2), name="Name", auth=None, deadline=deadline, gate=gate)
    assert passed == [(deadline, 0, 1), (deadline, 1, 2), (deadline, 2, 3)]


def test_the_gate_is_not_held_during_a_pause(
    mocked: requests_mock.Mocker, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    inside: list[bool] = [False]
    during_pauses: list[bool] = []

    @contextlib.contextmanager
    def gate(deadline: float) -> Iterator[None]:
        inside[0] = True
        yield
        inside[0] = False

    monkeypatch.setattr(clock, "sleep", lambda seconds: during_pauses.append(inside[0]))
    client = HttpClient(HttpSettings("http://127.0.0.1"), Redactor([]))
    client.exchange(GET, Judge(2), name="Name", auth=None, deadline=client.deadline(), gate=gate)
    assert during_pauses == [False, False]


def test_every_pause_is_said_without_secrets(
    mocked: requests_mock.Mocker, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    send(Judge(2, after=7), retry_limit=4)
    assert [record.getMessage() for record in caplog.records] == [
        "refused with *** for the 1. time; trying GetAllActions again in 7.0 s (attempt 2 of 5)",
        "refused with *** for the 2. time; trying GetAllActions again in 7.0 s (attempt 3 of 5)",
    ]


# Secrets


@pytest.mark.parametrize(
    "secret", ["fake-key-1", "fake/key+1=", 'fa"ke\\1', "f\u00e4ke<1>&'", "fake key\t1", " fake-key-1\n"]
)
def test_secrets_are_redacted_in_every_notation(secret: str) -> None:
    redact = Redactor(["", None, "other", secret])
    sent = secret.strip()
    for written in (
        sent,
        quote(sent, safe=""),
        quote_plus(sent),
        json.dumps(sent)[1:-1],
        json.dumps(sent, ensure_ascii=False)[1:-1],
        html.escape(sent),
    ):
        assert redact(f"said {written}, twice {written}!") == "said ***, twice ***!"


def test_a_secret_that_is_part_of_another_leaves_no_rest() -> None:
    assert Redactor(["fake", "fake-key-1"])("it is fake-key-1") == "it is ***"


@pytest.mark.parametrize("nothing", ["", None, "   "])
def test_an_empty_secret_redacts_nothing(nothing: str | None) -> None:
    redact = Redactor([nothing])
    redact.add(nothing)
    assert redact("a b c") == "a b c"


def test_secrets_may_become_known_later() -> None:
    redact = Redactor([])
    redact.add("fake-token-1")
    assert redact("fake-token-1") == "***"


def test_a_secret_may_be_known_for_a_while() -> None:
    redact = Redactor(["fake-key-1"])
    with redact.also("fake-token/22"), redact.also("fake-token/22 of a long name"), redact.also("fake-key-1"):
        assert redact("fake-token/22 of a long name, fake-token%2F22 with fake-key-1") == "***, *** with ***"
    assert redact("fake-token/22 with fake-key-1") == "fake-token/22 with ***"


def test_a_secret_of_two_calls_is_known_until_the_last_ends() -> None:
    redact = Redactor([])
    with redact.also("fake-token-1"):
        with pytest.raises(LookupError), redact.also("fake-token-1"):
            raise LookupError
        assert redact("fake-token-1") == "***"
    assert redact("fake-token-1") == "fake-token-1"


def test_the_log_names_what_is_shown_instead_of_a_path(serve: LocalServers, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="airflow_provider_optimove")
    outcome_of(serve().url, HttpRequest("GET", "users/vivi@example.com", shown="users/{user_id}"))
    assert caplog.messages[0].startswith("GET users/{user_id}: HTTP 200, ")


@pytest.mark.parametrize("shown", [None, "users/{user_id}"])
def test_urllib3_names_no_secret_at_warning_either(
    serve: LocalServers, caplog: pytest.LogCaptureFixture, shown: str | None
) -> None:
    """A server that tells the path again, behind a line that is no header."""

    def echoing(connection: socket.socket) -> None:
        path = server.received[-1].target
        head = f"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nNo-Colon-Here {path}\r\nX: {path}\r\n\r\nnull"
        connection.sendall(head.encode())

    server = serve(echoing)
    caplog.set_level(logging.DEBUG)
    request = HttpRequest("GET", "users/fake-key-1/vivi", (("Email", "vivi@example.com"),), shown=shown)
    assert isinstance(outcome_of(server.url, request), HttpAnswer)
    (warning,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert "Failed to parse headers" in warning.getMessage()
    seen = f"{caplog.text} {[(record.args, record.exc_info, record.exc_text) for record in caplog.records]}"
    assert (shown or "users/***/vivi") in seen
    for private in ("fake-key-1", "example.com", *(["vivi"] if shown else [])):
        assert private not in seen


def test_what_urllib3_says_of_others_keeps_its_errors(caplog: pytest.LogCaptureFixture) -> None:
    try:
        raise LookupError("theirs")
    except LookupError as error:
        logging.getLogger("urllib3.connectionpool").warning("%s", error, exc_info=True)
    assert "LookupError: theirs" in caplog.text


def test_nothing_is_redacted_for_a_line_that_nobody_reads(
    mocked: requests_mock.Mocker, caplog: pytest.LogCaptureFixture
) -> None:
    class Counting(Redactor):
        texts = 0

        def __call__(self, text: str) -> str:
            self.texts += 1
            return super().__call__(text)

    caplog.set_level(logging.INFO, logger="airflow_provider_optimove")
    redact = Counting(["fake-key-1"])
    client = HttpClient(HttpSettings("http://127.0.0.1"), redact)
    assert isinstance(exchanged(client), HttpAnswer)
    assert redact.texts == 0


def test_what_holds_secrets_does_not_show_them() -> None:
    settings = HttpSettings("https://api5.optimove.net", proxies={"https": "http://somebody:fake-key-1@proxy"})
    request = HttpRequest("POST", "general/Login", (), b'{"Password":"fake-key-1"}')
    assert "fake-key-1" not in f"{settings!r} {settings} {request!r}"


def test_debug_lines_name_neither_query_nor_secret(serve: LocalServers, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="airflow_provider_optimove")
    request = HttpRequest("GET", "users/fake-key-1", (("Email", "vivi@example.com"),))
    outcome_of(serve().url, request, auth=Key())
    outcome_of(serve.refusing_url(), request, auth=Key())
    answered, failed = (record.getMessage() for record in caplog.records)
    assert answered.startswith("GET users/***: HTTP 200, ")
    assert failed.startswith("GET users/***: the connection to 127.0.0.1 failed")
    assert "vivi" not in caplog.text
