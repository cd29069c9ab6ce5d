"""From Optimove's delivery to the runs of DAGs: each event once, whatever happens to the API server meanwhile."""

from __future__ import annotations

import functools
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
import requests

from airflow_provider_optimove.webhook.address import listener_url
from tests.durability.conftest import until

if TYPE_CHECKING:
    from tests.durability.conftest import LiveAirflow

CONN_ID = "optimove_default"
SECRET = "fake-secret-of-the-tests"
A_SECOND = 20
DAGS = """
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, dag, get_current_context, task

from airflow_provider_optimove.assets.optimove import OptimoveEvent, optimove_event


@dag(schedule=optimove_event("campaign_processed"))
def on_processed():
    @task
    def campaign():
        return OptimoveEvent.from_context(get_current_context()).campaign_id

    campaign()


on_processed()
for event in ("campaign_executed", "campaign_triggered"):
    with DAG(f"on_{event}", schedule=optimove_event(event), max_active_runs=50):
        EmptyOperator(task_id="nothing")
"""
# How many runs each event of an asset is in.
RUNS_OF_EVENTS = """
select event.id, count(consumed.dag_run_id)
from asset_event event
join asset on asset.id = event.asset_id
left join dagrun_asset_event consumed on consumed.event_id = event.id
where asset.name = :name
group by event.id
"""


@pytest.fixture(scope="module")
def airflow_settings() -> dict[str, str]:
    connection = {"conn_type": "optimove", "host": "http://127.0.0.1:1", "password": "fake-key"}
    return {
        "AIRFLOW__OPTIMOVE__LISTENER_CONNECTIONS": CONN_ID,
        "AIRFLOW_CONN_OPTIMOVE_DEFAULT": json.dumps({**connection, "extra": {"listener_secret": SECRET}}),
    }


@pytest.fixture(scope="module")
def airflow_with_dags(airflow: LiveAirflow) -> LiveAirflow:
    airflow.add_dags(DAGS, "on_processed", "on_campaign_executed", "on_campaign_triggered")
    return airflow


def deliver(airflow: LiveAirflow, event_type: int, payload: dict[str, Any]) -> str:
    """Send an event, as often as it takes until it is taken."""
    url = listener_url(airflow.url, CONN_ID, event_type, SECRET)

    def sent() -> str | None:
        try:
            answer = requests.post(url, json=payload, timeout=30)
        except (requests.ConnectionError, requests.Timeout):
            return None
        return answer.text if answer.status_code == 200 else None

    return until(f"a 200 for {payload}", sent)


def at_a_rate(
    payloads: Iterator[dict[str, Any]], send: Callable[[dict[str, Any]], str], a_second: int = A_SECOND
) -> list[str]:
    """Send each at its time, whether or not those before it were taken; what was answered."""
    with ThreadPoolExecutor(16) as pool:
        sent = []
        began = time.monotonic()
        for number, payload in enumerate(payloads):
            time.sleep(max(0.0, began + number / a_second - time.monotonic()))
            sent.append(pool.submit(send, payload))
        return [one.result() for one in sent]


def events_in_runs(airflow: LiveAirflow, name: str) -> Counter[int]:
    """How many events of an asset are in how many runs."""
    return Counter(runs for _, runs in airflow.query(RUNS_OF_EVENTS, {"name": f"optimove_event/{CONN_ID}/{name}"}))


def each_in_one_run(airflow: LiveAirflow, name: str, events: int) -> bool:
    return events_in_runs(airflow, name) == {1: events}


def runs_of(airflow: LiveAirflow, dag_id: str) -> list[tuple[str, str]]:
    """State and partition key of each run."""
    query = "select state, partition_key from dag_run where dag_id = :dag_id"
    return airflow.query(query, {"dag_id": dag_id})


def test_from_the_delivery_to_the_first_task(
    airflow_with_dags: LiveAirflow, capsys: pytest.CaptureFixture[str]
) -> None:
    airflow = airflow_with_dags
    began = datetime.now(UTC)
    assert deliver(airflow, 1, {"EventTypeID": 1, "CampaignID": 6577}) == "recorded"
    taken = datetime.now(UTC)

    def first_task() -> str | None:
        rows = airflow.query("select start_date from task_instance where dag_id = :dag_id", {"dag_id": "on_processed"})
        return rows[0][0] if rows else None

    started = datetime.fromisoformat(until("the first task", first_task)).replace(tzinfo=UTC)
    until("the end of the run", lambda: [state for state, _ in runs_of(airflow, "on_processed")] == ["success"])

    # What Airflow really hands to a task is an event.
    ((value,),) = airflow.query("select value from xcom where dag_id = :dag_id", {"dag_id": "on_processed"})
    assert int(value) == 6577
    assert runs_of(airflow, "on_processed") == [("success", "campaign_processed/6577/-")]
    with capsys.disabled():
        print(
            f"\n  an event was taken after {(taken - began).total_seconds():.2f} s;"
            f" the run's first task began {(started - began).total_seconds():.2f} s after its delivery"
        )


def test_one_run_an_event(airflow_with_dags: LiveAirflow, capsys: pytest.CaptureFixture[str]) -> None:
    airflow = airflow_with_dags
    campaigns = range(1, 201)

    def payloads() -> Iterator[dict[str, Any]]:
        for campaign_id in campaigns:
            # The API server dies with requests in its hands.
            if campaign_id == 101:
                airflow.kill("api-server")
                back.append(pool.submit(airflow.start_component, "api-server"))
            for _ in range(2 if campaign_id % 10 == 0 else 1):
                yield {"EventTypeID": 13, "CampaignID": campaign_id, "ChannelID": 504}

    with ThreadPoolExecutor(1) as pool:
        back: list[Any] = []
        began = time.monotonic()
        told = at_a_rate(payloads(), lambda payload: deliver(airflow, 13, payload))
        back[0].result()
    sent = time.monotonic()
    until("runs of all events", lambda: each_in_one_run(airflow, "campaign_executed", 200))
    until(
        "the end of all runs", lambda: all(state == "success" for state, _ in runs_of(airflow, "on_campaign_executed"))
    )

    # An event that was recorded when the server died was known when it was sent again.
    assert set(told) == {"recorded", "known already"}
    assert 220 - told.count("recorded") >= 20
    runs = runs_of(airflow, "on_campaign_executed")
    assert Counter(key for _, key in runs) == {f"campaign_executed/{number}/504": 1 for number in campaigns}
    with capsys.disabled():
        print(
            f"\n  200 events, 220 deliveries and those that were refused: taken within {sent - began:.0f} s,"
            f" each in one run of its own {time.monotonic() - sent:.0f} s later"
        )


def test_events_of_customers_are_collected(airflow_with_dags: LiveAirflow, capsys: pytest.CaptureFixture[str]) -> None:
    airflow = airflow_with_dags
    runs_before = taken = 0
    # Of a trickle, nearly each has a run of its own.
    for a_second, events, most_runs in ((A_SECOND, 100, 25), (1, 8, 8)):
        customers = ({"customerID": f"C{number}", "at": a_second} for number in range(events))
        told = at_a_rate(customers, lambda payload: deliver(airflow, 11, payload), a_second)
        assert told == ["recorded"] * events
        taken += events
        in_one_run = functools.partial(each_in_one_run, airflow, "campaign_triggered", taken)
        until("every event in a run", in_one_run)
        runs = runs_of(airflow, "on_campaign_triggered")
        assert {key for _, key in runs} == {"collected"}
        assert 0 < len(runs) - runs_before <= most_runs
        with capsys.disabled():
            print(f"\n  {events} events of customers, {a_second} a second, in {len(runs) - runs_before} runs")
        runs_before = len(runs)
