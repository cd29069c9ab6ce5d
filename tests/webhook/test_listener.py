"""The event listener when the database, the network or the connection fails it."""

from __future__ import annotations

import json
import logging
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_optimove.assets.events import asset_of
from tests.webhook.conftest import skip_before_airflow_3_2
from tests.webhook.hostile_requests import CONN_ID, CUSTOMER, EVENT, PLACE, SECRET, delivery, request, send

if TYPE_CHECKING:
    from tests.conftest import AssetEvents

skip_before_airflow_3_2()

from airflow.assets.manager import asset_manager  # noqa: E402
from airflow.configuration import ensure_secrets_loaded  # noqa: E402

from airflow_provider_optimove.webhook import heard_connection, listener  # noqa: E402
from airflow_provider_optimove.webhook.asset_events import TooLate, record  # noqa: E402
from airflow_provider_optimove.webhook.listener import EventListener  # noqa: E402

pytestmark = pytest.mark.usefixtures("waiting_dags", "connections")

EXECUTED, _ = asset_of(13, CONN_ID)
Serving = Callable[..., AbstractContextManager[int]]


@contextmanager
def mounted(serving: Serving, app: EventListener | None = None) -> Iterator[int]:
    """The port of a server that has the event listener as Airflow's has."""
    from starlette.applications import Starlette
    from starlette.routing import Mount

    with serving(Starlette(routes=[Mount("/optimove", app or EventListener([CONN_ID]))])) as port:
        yield port


@pytest.fixture
def port(serving: Serving) -> Iterator[int]:
    with mounted(serving) as port:
        yield port


@contextmanager
def locked(database: Path) -> Iterator[None]:
    """Another writer has the database, as long as the block runs."""
    with closing(sqlite3.connect(database, isolation_level=None, timeout=60)) as other:
        other.execute("begin immediate")
        yield
        other.execute("rollback")


def test_a_database_that_is_locked_for_too_long(
    serving: Serving, airflow_db: Path, asset_events: AssetEvents, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "LONGEST_RECORDING", 1.0)
    app = EventListener([CONN_ID])
    with mounted(serving, app) as port:
        with locked(airflow_db):
            assert send(port, request()) == (503, "not within 1 s, it may have been recorded")
        # Its thread, which had waited too long, writes nothing any more.
        app._threads.shutdown(wait=True)
    assert asset_events.of(EXECUTED) == []
    with mounted(serving) as port:
        assert send(port, request()) == (200, "recorded")
    assert len(asset_events.of(EXECUTED)) == 1


def test_a_database_that_is_locked_for_a_moment(port: int, airflow_db: Path, asset_events: AssetEvents) -> None:
    with ThreadPoolExecutor(1) as pool:
        with locked(airflow_db):
            told = pool.submit(send, port, request())
            time.sleep(0.5)
            assert not told.done()
        assert told.result() == (200, "recorded")
    assert len(asset_events.of(EXECUTED)) == 1


def test_what_was_recorded_too_late_is_taken_back(asset_events: AssetEvents) -> None:
    from airflow_provider_optimove.assets.events import OptimoveEvent

    event = OptimoveEvent.from_payload(EVENT)
    with pytest.raises(TooLate):
        record(13, CONN_ID, event, time.monotonic() - 1)
    assert asset_events.of(EXECUTED) == []


def test_a_commit_that_takes_too_long(
    serving: Serving,
    asset_events: AssetEvents,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    from sqlalchemy import event
    from sqlalchemy.orm import Session

    answered = threading.Event()

    def slow(_: Session) -> None:
        answered.wait()

    monkeypatch.setattr(listener, "LONGEST_RECORDING", 1.0)
    app = EventListener([CONN_ID])
    with mounted(serving, app) as port:
        assert send(port, with_secret(SECRET))[0] == 400
        event.listen(Session, "before_commit", slow)
        try:
            assert send(port, request()) == (503, "not within 1 s, it may have been recorded")
        finally:
            answered.set()
            app._threads.shutdown(wait=True)
            event.remove(Session, "before_commit", slow)
    assert "channel 504 of listener_test: not within 1 s, it may have been recorded" in caplog.text
    assert len(asset_events.of(EXECUTED)) == 1
    with mounted(serving) as port:
        assert send(port, request()) == (200, "known already")


def test_an_asset_that_starts_no_dag(port: int, asset_events: AssetEvents) -> None:
    from airflow.models.asset import AssetModel
    from airflow.utils.session import create_session

    name, uri = asset_of(42, CONN_ID)
    with create_session() as session:
        session.add(AssetModel(name=name, uri=uri))
    try:
        # A DAG that comes later shall get it when it is sent again.
        body = b'{"CampaignID": "many"}'
        assert send(port, request(f"/optimove/events/{CONN_ID}/42", body=body)) == (200, "no DAG listens")
        assert asset_events.of(name) == []
    finally:
        with create_session() as session:
            session.query(AssetModel).filter_by(name=name).delete()


def test_more_at_once_than_can_wait(
    serving: Serving,
    airflow_db: Path,
    asset_events: AssetEvents,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(listener, "MOST_WAITING", 2)
    most = 2 + listener.THREADS
    with mounted(serving) as port, ThreadPoolExecutor(20) as pool:
        with locked(airflow_db):
            told = [pool.submit(send, port, delivery(CampaignID=number)) for number in range(20)]
            deadline = time.monotonic() + 30
            while sum(one.done() for one in told) < 20 - most:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            # Refused at once, while the others wait for the database.
            assert [one.result() for one in told if one.done()] == [(503, "too many at once")] * (20 - most)
        assert caplog.text.count("Events were refused: 2 wait for the database already") == 1
        answers = [one.result() for one in told]
        assert answers.count((200, "recorded")) == most == len(asset_events.of(EXECUTED))
        # There is room again.
        assert send(port, delivery(CampaignID=99)) == (200, "recorded")


def test_answers_that_ask_to_come_back_say_when(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any) -> None:
        raise RuntimeError(CUSTOMER)

    monkeypatch.setattr(listener, "record", fail)
    with mounted(serving) as port, socket.create_connection(("127.0.0.1", port)) as connection:
        for piece in request().pieces:
            connection.sendall(piece)
        answer = b""
        while more := connection.recv(65536):
            answer += more
    head = answer.lower().split(b"\r\n\r\n")[0].split(b"\r\n")
    assert head[0] == b"http/1.1 503 service unavailable"
    assert b"retry-after: 1" in head
    assert b"connection: close" in head


def test_a_database_that_fails(
    port: int, asset_events: AssetEvents, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(**arguments: Any) -> None:
        raise RuntimeError(f"row with {CUSTOMER}")

    with monkeypatch.context() as broken:
        broken.setattr(asset_manager, "register_asset_change", fail)
        assert send(port, request()) == (503, "the database failed, it may have been recorded")
    assert "The database failed: RuntimeError" in caplog.text
    assert CUSTOMER not in caplog.text
    assert asset_events.of(EXECUTED) == []
    assert send(port, request()) == (200, "recorded")


def test_one_who_goes_away_leaves_nothing(
    port: int, asset_events: AssetEvents, caplog: pytest.LogCaptureFixture
) -> None:
    head, body = request().pieces
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(head + body[:10])
    assert send(port, delivery(CampaignID=1)) == (200, "recorded")
    assert len(asset_events.of(EXECUTED)) == 1
    assert "Traceback" not in caplog.text


def test_a_web_socket_is_refused(port: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    head = request(
        PLACE,
        f"token={SECRET}",
        "Upgrade: websocket",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
        method="GET",
        body=b"",
        announced=False,
    )
    upgraded = head._replace(pieces=[head.pieces[0].replace(b"Connection: close", b"Connection: Upgrade")])
    assert send(port, upgraded)[0] == 403
    assert '"WebSocket /optimove/%2A%2A%2A" 403' in caplog.text
    assert SECRET not in caplog.text


@pytest.mark.parametrize("mount", ["/optimove", "/air/optimove"])
def test_an_api_server_whose_address_has_a_path(serving: Serving, asset_events: AssetEvents, mount: str) -> None:
    from fastapi import FastAPI

    # A proxy may cut the path off, or not.
    app = FastAPI(root_path="/air")
    app.mount("/optimove", EventListener([CONN_ID]))
    with serving(app) as port:
        assert send(port, request(f"{mount}/events/{CONN_ID}/13")) == (200, "recorded")
        assert send(port, request(f"{mount}/x/events/{CONN_ID}/13")) == (404, "no such place")
    assert len(asset_events.of(EXECUTED)) == 1


def test_an_event_comes_again_much_later(port: int, asset_events: AssetEvents, monkeypatch: pytest.MonkeyPatch) -> None:
    customer = request(f"/optimove/events/{CONN_ID}/11", body=json.dumps({"customerID": "C1"}).encode())
    for one in (request(), customer):
        assert send(port, one) == (200, "recorded")
        assert send(port, one) == (200, "known already")
    backdate(minutes=11)
    assert send(port, request()) == (200, "known already")
    assert send(port, customer) == (200, "recorded")
    backdate(minutes=12 * 60)
    assert send(port, request()) == (200, "recorded")


def backdate(minutes: int) -> None:
    """Let so many minutes pass for the events that are there."""
    import datetime

    from airflow.models.asset import AssetEvent
    from airflow.utils.session import create_session

    with create_session() as session:
        for event in session.query(AssetEvent):
            event.timestamp -= datetime.timedelta(minutes=minutes)


# Secrets


@pytest.fixture
def secret_is(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    def change(secret: str) -> None:
        monkeypatch.setenv(
            "AIRFLOW_CONN_LISTENER_TEST",
            json.dumps({"conn_type": "optimove", "extra": {"listener_secret": secret}}),
        )

    return change


@pytest.fixture
def look_ups(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The connections that were read."""
    made: list[str] = []
    look_up = heard_connection._connection

    def counted(conn_id: str) -> Any:
        made.append(conn_id)
        return look_up(conn_id)

    monkeypatch.setattr(heard_connection, "_connection", counted)
    return made


def with_secret(secret: str) -> Any:
    return request(query=f"token={secret}", body=b"x")


def test_guesses_cost_no_look_ups(serving: Serving, look_ups: list[str]) -> None:
    heard = [CONN_ID, "no_secret"]
    with mounted(serving, EventListener(heard)) as port, ThreadPoolExecutor(8) as pool:
        guesses = [with_secret(f"guess-{number}") for number in range(50)]
        strangers = [request(f"/optimove/events/stranger-{number}/13") for number in range(50)]
        told = list(pool.map(lambda one: send(port, one), [*guesses, *strangers]))
    assert {status for status, _ in told} == {403}
    # Whoever is named, all are read: nobody learns from the time which connections are heard.
    assert look_ups == heard


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Once it is cleared, the backend hangs until it is set."""
    goes_on = threading.Event()
    goes_on.set()
    look_up = heard_connection._connection

    def slow(conn_id: str) -> Any:
        goes_on.wait()
        return look_up(conn_id)

    monkeypatch.setattr(heard_connection, "_connection", slow)
    monkeypatch.setattr(heard_connection, "READ_ANEW_AFTER", 0.0)
    yield goes_on
    goes_on.set()


def test_a_guess_holds_up_nobody(port: int, hanging: threading.Event) -> None:
    assert send(port, with_secret(SECRET))[0] == 400
    with ThreadPoolExecutor(1) as pool:
        hanging.clear()
        guess = pool.submit(send, port, with_secret("guess"))
        time.sleep(0.2)
        assert send(port, with_secret(SECRET))[0] == 400
        assert not guess.done()
        hanging.set()
        assert guess.result()[0] == 403


def test_a_backend_that_hangs(
    port: int, hanging: threading.Event, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(heard_connection, "LONGEST_READ", 0.2)
    assert send(port, with_secret(SECRET))[0] == 400
    monkeypatch.setattr(heard_connection, "KEPT", 0.0)
    hanging.clear()
    # What was read before counts, however long ago.
    assert [send(port, with_secret(SECRET))[0] for _ in range(2)] == [400, 400]
    assert send(port, with_secret("guess")) == (503, "cannot tell now")
    assert send(port, request("/optimove/events/stranger/13")) == (503, "cannot tell now")
    assert "were not read within 0.2 s" in caplog.text
    hanging.set()
    assert send(port, with_secret(SECRET))[0] == 400
    assert send(port, with_secret("guess"))[0] == 403


def test_refusals_are_logged_once_in_a_while(
    port: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def lines() -> list[str]:
        return sorted(line.getMessage().split(" was")[0] for line in caplog.records if "the secret" in line.message)

    guesses = [with_secret("guess"), request("/optimove/events/stranger/13"), request("/optimove/events/other/13")]
    for guess in guesses * 2:
        send(port, guess)
    one_of_each = ["A request for connection listener_test", "A request for connections that are not heard"]
    assert lines() == one_of_each
    assert "stranger" not in caplog.text.replace('"POST /optimove/***', "")
    monkeypatch.setattr(listener, "WARN_AGAIN_AFTER", 0.0)
    for guess in guesses:
        send(port, guess)
    assert lines() == sorted([*one_of_each * 2, one_of_each[1]])


def test_a_secret_is_changed_without_a_gap(
    port: int, secret_is: Callable[[str], None], look_ups: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = "fake-secret-number-one", "fake-secret-number-two"
    monkeypatch.setattr(heard_connection, "READ_ANEW_AFTER", 0.0)
    secret_is(one)
    assert send(port, with_secret(one))[0] == 400
    assert send(port, with_secret(other))[0] == 403
    # 400 is the body's: the secret was right.
    secret_is(f"{other} {one}")
    assert [send(port, with_secret(secret))[0] for secret in (one, other)] == [400, 400]
    secret_is(other)
    assert send(port, with_secret(other))[0] == 400
    reads = len(look_ups)
    # The old one still stands in what was read a moment ago, and goes with it.
    monkeypatch.setattr(heard_connection, "KEPT", 0.0)
    assert [send(port, with_secret(secret))[0] for secret in (one, other)] == [403, 400]
    assert len(look_ups) > reads


def test_a_new_secret_is_looked_for_once_in_a_while(
    port: int, secret_is: Callable[[str], None], look_ups: list[str]
) -> None:
    secret_is("fake-secret-number-one")
    assert send(port, with_secret("fake-secret-number-one"))[0] == 400
    secret_is("fake-secret-number-two")
    assert send(port, with_secret("fake-secret-number-two"))[0] == 403
    assert look_ups == [CONN_ID]


def test_a_connection_in_the_database(serving: Serving) -> None:
    from airflow.models.connection import Connection
    from airflow.utils.session import create_session
    from starlette.applications import Starlette
    from starlette.routing import Mount

    extra = json.dumps({"listener_secret": "fake-secret-in-the-database"})
    with create_session() as session:
        session.add(Connection(conn_id="in_database", conn_type="optimove", extra=extra))
    place = "/optimove/events/in_database/13"
    try:
        with serving(Starlette(routes=[Mount("/optimove", EventListener(["in_database"]))])) as port:
            assert send(port, request(place, "token=fake-secret-in-the-database", body=b"x"))[0] == 400
            assert send(port, request(place, body=b"x"))[0] == 403
    finally:
        with create_session() as session:
            session.query(Connection).filter_by(conn_id="in_database").delete()


def test_a_connection_that_cannot_be_read(
    port: int, asset_events: AssetEvents, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Vault:
        def get_connection(self, conn_id: str) -> None:
            raise ConnectionError(f"no answer about {SECRET}")

    monkeypatch.setattr(heard_connection, "READ_ANEW_AFTER", 0.0)
    backends = ensure_secrets_loaded()
    with monkeypatch.context() as broken:
        broken.setattr(heard_connection, "ensure_secrets_loaded", lambda: [Vault()])
        assert send(port, request()) == (503, "cannot tell now")
        assert send(port, request("/optimove/events/stranger/13")) == (503, "cannot tell now")
        # As Airflow does: a backend that has it is enough.
        broken.setattr(heard_connection, "ensure_secrets_loaded", lambda: [Vault(), *backends])
        assert send(port, request()) == (200, "recorded")
        # What was read stays good while it cannot be read again.
        broken.setattr(heard_connection, "ensure_secrets_loaded", lambda: [Vault()])
        broken.setattr(heard_connection, "KEPT", 0.0)
        assert send(port, with_secret("guess")) == (503, "cannot tell now")
        assert send(port, request()) == (200, "known already")
    assert "Connection listener_test could not be read: ConnectionError" in caplog.text
    assert SECRET not in caplog.text


def test_the_log_tells_nothing_of_a_customer(
    port: int, asset_events: AssetEvents, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    event = {"customerID": CUSTOMER, "channelID": 506, "personalization": {"x": {"FirstName": "fake-name"}}}
    place = f"/optimove/events/{CONN_ID}/11"
    assert send(port, request(place, body=json.dumps(event).encode())) == (200, "recorded")
    assert send(port, request(place, body=json.dumps({**event, "customerID": [CUSTOMER]}).encode()))[0] == 400
    assert "Event campaign_triggered of listener_test: recorded" in caplog.text
    # The web server's own access log, which Airflow 3.0 and 3.1 have, redacts nothing by itself.
    assert f'"POST {place} HTTP/1.1" 200' in caplog.text
    assert "CustomerID: expected text or a number, got list" in caplog.text
    for private in (CUSTOMER, "fake-name", SECRET):
        assert private not in caplog.text


def test_the_loop_is_free_while_the_database_is_not(port: int, airflow_db: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        with locked(airflow_db):
            waiting = [pool.submit(send, port, delivery(CampaignID=number)) for number in range(8)]
            done = threading.Event()
            assert send(port, with_secret("x"))[0] == 403
            assert send(port, request(body=b"x"))[0] == 400
            assert not any(one.done() for one in waiting)
            done.set()
        assert {one.result() for one in waiting} == {(200, "recorded")}
