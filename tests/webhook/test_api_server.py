"""The event listener in Airflow's own API server: two of them, on one database."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_3_PLUS

from airflow_provider_optimove.assets.events import asset_of
from tests.webhook.conftest import skip_before_airflow_3_2
from tests.webhook.hostile_requests import (
    CONN_ID,
    CUSTOMER,
    EVENT,
    HEARD,
    OLDER_SECRET,
    ROWS,
    SECRETS,
    Row,
    delivery,
    request,
    send,
)

if TYPE_CHECKING:
    from tests.conftest import AssetEvents
    from tests.webhook.conftest import ApiServer

skip_before_airflow_3_2()

EXECUTED, _ = asset_of(13, CONN_ID)
TRIGGERED, _ = asset_of(11, CONN_ID)
AT_ONCE = 6


def all_events() -> list[tuple[str, str | None]]:
    """Asset and partition key of every asset event."""
    from airflow.models.asset import AssetEvent
    from airflow.utils.session import create_session

    with create_session() as session:
        return [(event.name, event.partition_key) for event in session.query(AssetEvent).order_by(AssetEvent.id)]


def runs_to_come() -> Counter[str]:
    """How many runs of each DAG are waiting for a scheduler."""
    from airflow.models.asset import AssetPartitionDagRun
    from airflow.utils.session import create_session

    with create_session() as session:
        return Counter(found for (found,) in session.query(AssetPartitionDagRun.target_dag_id))


@pytest.fixture(autouse=True)
def no_runs_to_come(asset_events: AssetEvents) -> None:
    from airflow.models.asset import AssetPartitionDagRun
    from airflow.utils.session import create_session

    with create_session() as session:
        session.query(AssetPartitionDagRun).delete()


@pytest.fixture(scope="module")
def answers(api_servers: list[ApiServer]) -> dict[str, list[tuple[int, str]]]:
    """What each hostile request got."""
    from airflow.models.asset import AssetEvent
    from airflow.utils.session import create_session

    with create_session() as session:
        session.query(AssetEvent).delete()
    with ThreadPoolExecutor(4) as pool:
        # The one that dribbles takes ten seconds: the others come meanwhile.
        sent = {row.what: [pool.submit(send, api_servers[0].port, one) for one in row.requests] for row in ROWS}
        return {what: [one.result() for one in of_a_row] for what, of_a_row in sent.items()}


@pytest.mark.parametrize("row", ROWS, ids=[row.what for row in ROWS])
def test_a_hostile_request(row: Row, answers: dict[str, list[tuple[int, str]]]) -> None:
    assert [status for status, _ in answers[row.what]] == [row.status] * len(row.requests)
    for _, text in answers[row.what]:
        # A short reason in plain text, which repeats nothing.
        assert len(text) < 100
        assert "Traceback" not in text
        for secret in (*SECRETS, CUSTOMER, "drop table", "mail", "today"):
            assert secret not in text
    if row.status == 403:
        assert len(set(answers[row.what])) == 1
        assert answers[row.what][0] == answers[ROWS[0].what][0]


def test_no_event_came_of_them_and_no_log_has_a_secret(
    answers: dict[str, list[tuple[int, str]]], api_servers: list[ApiServer]
) -> None:
    assert all_events() == []
    assert sum(runs_to_come().values()) == 0
    # The same request is good with nothing wrong in it, so none was refused for another reason.
    assert send(api_servers[0].port, request()) == (200, "recorded")
    log = api_servers[0].log.read_text()
    assert log.count("request finished") >= sum(len(row.requests) for row in ROWS) - 10
    assert "Event campaign_executed, campaign 6577, channel 504 of listener_test: recorded" in log
    assert "Event campaign_executed of listener_test refused: CampaignID: expected a whole number" in log
    assert "short_secret: a listener_secret of less than 16 characters counts as none" in log
    assert "no connection not_there" in log
    assert f"Optimove's event listener listens for the connections {', '.join(HEARD)}" in log
    for warned in (
        f"A request for connection {CONN_ID} was refused: it had not the secret",
        "A request for connections that are not heard was refused: it had not the secret",
        "A request with the secret was refused: its body has more than 65,536 bytes",
        "A request with the secret was refused: its body was not whole within 10 s",
    ):
        assert log.count(f"{warned}; more of these are not logged for 60 s") == 1
    assert "not_heard" not in log
    assert "no_secret has no listener_secret" in log
    for secret in (*SECRETS, CUSTOMER, "drop table"):
        assert secret not in log


def test_what_becomes_of_an_event(api_servers: list[ApiServer], asset_events: AssetEvents) -> None:
    port = api_servers[0].port
    assert send(port, request()) == (200, "recorded")
    assert asset_events.of(EXECUTED) == [
        {"event_type": 13, "key": "campaign_executed/6577/504", "payload": EVENT},
    ]
    assert all_events() == [(EXECUTED, "campaign_executed/6577/504")]
    assert runs_to_come() == {"on_campaign_executed": 1}
    # Delivered again, later, to whichever server, with either secret, with its ids as text.
    assert send(port, request()) == (200, "known already")
    assert send(api_servers[1].port, request(query=f"token={OLDER_SECRET}")) == (200, "known already")
    again = delivery(TimeStamp="2026-11-20 06:31:00", CampaignID="6577")
    assert send(port, again) == (200, "known already")
    assert send(port, delivery(ChannelID=505)) == (200, "recorded")
    assert runs_to_come() == {"on_campaign_executed": 2}


def test_events_of_customers_are_collected(api_servers: list[ApiServer], asset_events: AssetEvents) -> None:
    port = api_servers[0].port
    bodies = [json.dumps({"customerID": f"C{number}", "actionID": 3}).encode() for number in (1, 2, 1, 3)]
    told = [send(port, request(f"/optimove/events/{CONN_ID}/11", body=body)) for body in bodies]
    assert [text for _, text in told] == ["recorded", "recorded", "known already", "recorded"]
    assert [event["payload"]["customerID"] for event in asset_events.of(TRIGGERED)] == ["C1", "C2", "C3"]
    assert {key for _, key in all_events()} == {event["key"] for event in asset_events.of(TRIGGERED)}
    assert runs_to_come() == {"on_campaign_triggered": 1 if AIRFLOW_V_3_3_PLUS else 3}
    assert CUSTOMER not in api_servers[0].log.read_text()


def test_nobody_listens(api_servers: list[ApiServer]) -> None:
    port = api_servers[0].port
    assert send(port, request(f"/optimove/events/{CONN_ID}/1", body=b'{"CampaignID": 1}')) == (200, "no DAG listens")
    assert all_events() == []
    assert "Event campaign_processed, campaign 1, channel None of listener_test: no DAG listens" in (
        api_servers[0].log.read_text()
    )


def test_a_paused_dag_gets_what_is_sent_again(api_servers: list[ApiServer], asset_events: AssetEvents) -> None:
    cancelled = request(f"/optimove/events/{CONN_ID}/4", body=b'{"CampaignID": 1}')
    log = api_servers[0].log
    assert send(api_servers[0].port, cancelled) == (200, "no DAG listens")
    assert all_events() == []
    assert runs_to_come() == {}
    assert "channel None of listener_test: no DAG listens, those that would are paused" in log.read_text()
    with dag_model("paused") as dag:
        dag(is_paused=False)
        assert send(api_servers[0].port, cancelled) == (200, "recorded")
        assert runs_to_come() == {"paused": 1}
        dag(is_stale=True)
        assert send(api_servers[0].port, cancelled) == (200, "no DAG listens")


def test_a_task_that_reads_events_listens(api_servers: list[ApiServer], asset_events: AssetEvents) -> None:
    body = b'{"CampaignID": 1, "ClearanceRequiredBy": "2026-11-20 09:00:00"}'
    on_hold = request(f"/optimove/events/{CONN_ID}/5", body=body)
    with dag_model("reader") as dag:
        dag(is_paused=True)
        assert send(api_servers[0].port, on_hold) == (200, "no DAG listens")
        dag(is_paused=False)
        assert send(api_servers[0].port, on_hold) == (200, "recorded")
        assert send(api_servers[0].port, on_hold) == (200, "known already")
    assert runs_to_come() == {}


@contextmanager
def dag_model(dag_id: str) -> Iterator[Callable[..., None]]:
    """Changes what the database says of a DAG, and back."""
    from airflow.models.dag import DagModel
    from airflow.utils.session import create_session

    def change(**fields: bool) -> None:
        with create_session() as session:
            dag = session.query(DagModel).filter_by(dag_id=dag_id).one()
            for name, value in fields.items():
                setattr(dag, name, value)

    with create_session() as session:
        found = session.query(DagModel).filter_by(dag_id=dag_id).one()
        before = {"is_paused": found.is_paused, "is_stale": found.is_stale}
    yield change
    change(**before)


def test_nothing_in_a_body_chooses_the_asset(api_servers: list[ApiServer]) -> None:
    name, uri = asset_of(11, CONN_ID)
    told = send(
        api_servers[0].port,
        delivery(
            asset=name,
            asset_id=1,
            uri=uri,
            conn_id="no_secret",
            partition_key="x",
            key="x",
            event_type=11,
            extra={"key": "x"},
        ),
    )
    assert told == (200, "recorded")
    assert all_events() == [(EXECUTED, "campaign_executed/6577/504")]


def test_the_same_event_at_the_same_time_at_two_servers(
    api_servers: list[ApiServer], asset_events: AssetEvents
) -> None:
    together = threading.Barrier(AT_ONCE)

    def deliver(number: int) -> list[tuple[int, str]]:
        told = []
        for campaign_id in range(1, 11):
            together.wait()
            told.append(send(api_servers[number % 2].port, delivery(CampaignID=campaign_id)))
        return told

    with ThreadPoolExecutor(AT_ONCE) as pool:
        told = [answer for answers in pool.map(deliver, range(AT_ONCE)) for answer in answers]

    assert Counter(told) == {(200, "recorded"): 10, (200, "known already"): 10 * (AT_ONCE - 1)}
    assert sorted(event["payload"]["CampaignID"] for event in asset_events.of(EXECUTED)) == list(range(1, 11))
    assert runs_to_come() == {"on_campaign_executed": 10}


def test_airflow_shows_the_plugin(api_servers: list[ApiServer]) -> None:
    token = api_servers[0].get("/auth/token")["access_token"]
    plugins: Any = api_servers[0].get("/api/v2/plugins", Authorization=f"Bearer {token}")["plugins"]
    (plugin,) = (plugin for plugin in plugins if plugin["name"] == "optimove_event_listener")
    ((app),) = plugin["fastapi_apps"]
    assert app["url_prefix"] == "/optimove"
    assert not [conn_id for conn_id in HEARD if conn_id in json.dumps(plugin)]
    errors = api_servers[0].get("/api/v2/plugins/importErrors", Authorization=f"Bearer {token}")
    assert errors["import_errors"] == []
