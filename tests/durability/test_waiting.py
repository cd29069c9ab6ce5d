"""Waiting in a real triggerer: one poll for all, no worker held, and what a watcher fires over restarts."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
import requests

from airflow_provider_optimove.sandbox import OptimoveSandbox
from tests.durability.conftest import PATIENCE, until

if TYPE_CHECKING:
    from tests.durability.conftest import LiveAirflow

SENSORS = 100
CAMPAIGNS = 4
INTERVAL = 5.0
HUNDRED = f"""
from airflow.sdk import DAG

from airflow_provider_optimove.sensors.optimove import OptimoveLastDataUpdateSensor

with DAG("a_hundred", schedule=None):
    OptimoveLastDataUpdateSensor.partial(
        task_id="wait", deferrable=True, poke_interval={INTERVAL}
    ).expand(target_date=["2024-11-20"] * {SENSORS})
"""
BEGINNING_THERE = """
from airflow.sdk import DAG

from airflow_provider_optimove.sensors.optimove import OptimoveCampaignSensor, OptimoveLastDataUpdateSensor

THERE = {"deferrable": True, "start_from_trigger": True, "poke_interval": 1}
with DAG("beginning_there", schedule=None, params={"day": "2024-11-20"}):
    OptimoveLastDataUpdateSensor(task_id="day", target_date="{{ params.day }}", **THERE)
    OptimoveLastDataUpdateSensor(task_id="day_before", timezone="UTC", soft_fail=True, timeout=5, **THERE)
    OptimoveCampaignSensor(task_id="wrong", campaign_id="the newest", retries=1, **THERE)
"""
WATCHING = """
from airflow.sdk import DAG, Asset, AssetWatcher, get_current_context, task

from airflow_provider_optimove.triggers.optimove import {trigger}

watcher = AssetWatcher(name="optimove", trigger={trigger}(poll_interval={interval}))
with DAG("{dag_id}", schedule=Asset("{dag_id}", watchers=[watcher])):

    @task
    def payloads():
        events = get_current_context()["triggering_asset_events"]
        return [event.extra["payload"] for of_an_asset in events.values() for event in of_an_asset]

    payloads()
"""


@pytest.fixture(scope="module")
def triggerer(airflow: LiveAirflow) -> None:
    airflow.start_component("triggerer")


@pytest.fixture
def sandbox(sandbox_port: int) -> Iterator[OptimoveSandbox]:
    with OptimoveSandbox(port=sandbox_port, last_data_update="2024-11-19") as running:
        yield running


class Watched:
    """A DAG that is scheduled on a watched asset of its name."""

    def __init__(self, airflow: LiveAirflow, dag_id: str, trigger: str) -> None:
        self._airflow = airflow
        self._name = {"name": dag_id}
        airflow.add_dags(WATCHING.format(dag_id=dag_id, trigger=trigger, interval=1.0), dag_id)
        until(f"a first look of {trigger}", lambda: self.state)

    @property
    def state(self) -> Any:
        """What the watcher keeps."""
        kept = self._airflow.query(
            "select value from asset_state_store join asset on asset.id = asset_id where name = :name", self._name
        )
        return json.loads(kept[0][0]) if kept else None

    def keep(self, state: Any) -> None:
        """Set what the watcher keeps, as somebody may do through Airflow's API."""
        ((asset, key),) = self._airflow.query(
            "select asset.id, key from asset_state_store join asset on asset.id = asset_id where name = :name",
            self._name,
        )
        token = requests.get(f"{self._airflow.url}/auth/token", timeout=PATIENCE).json()["access_token"]
        requests.put(
            f"{self._airflow.url}/api/v2/assets/{asset}/state-store/{key}",
            headers={"Authorization": f"Bearer {token}"},
            json={"value": state},
            timeout=PATIENCE,
        ).raise_for_status()

    @property
    def events(self) -> list[Any]:
        """The payloads of the asset's events."""
        found = self._airflow.query(
            "select asset_event.extra from asset_event join asset on asset.id = asset_id where name = :name"
            " order by asset_event.id",
            self._name,
        )
        return [json.loads(extra)["payload"] for (extra,) in found]

    def runs(self, number: int) -> list[Any]:
        """The payloads that each of so many runs was started with, when all of them have ended well."""

        def ended() -> bool:
            states = [
                state for (state,) in self._airflow.query("select state from dag_run where dag_id = :name", self._name)
            ]
            assert "failed" not in states
            return states.count("success") >= number == len(states)

        until(f"{number} runs of {self._name}", ended)
        found = self._airflow.query("select value from xcom where dag_id = :name order by timestamp", self._name)
        return [json.loads(value) for (value,) in found]


def looks(sandbox: OptimoveSandbox, number: int, function: str = "GetLastDataUpdate") -> None:
    """Wait for so many calls from now on."""
    enough = len(sandbox.calls_of(function)) + number
    until(f"{number} calls of {function}", lambda: len(sandbox.calls_of(function)) >= enough)


def test_a_hundred_sensors_share_their_calls_and_hold_no_worker(
    airflow: LiveAirflow, triggerer: None, sandbox: OptimoveSandbox, record_property: Callable[[str, object], None]
) -> None:
    def in_state(*states: str) -> int:
        listed = ", ".join(f"'{state}'" for state in states)
        ((number,),) = airflow.query(
            f"select count(*) from task_instance where dag_id = 'a_hundred' and state in ({listed})", {}
        )
        return int(number)

    airflow.add_dags(HUNDRED, "a_hundred")
    started = time.monotonic()
    run = airflow.run("a_hundred")
    until("a hundred deferred sensors", lambda: in_state("deferred") == SENSORS)
    record_property("seconds until all are deferred", round(time.monotonic() - started, 1))

    while_all_wait = len(sandbox.calls)
    looks(sandbox, 2)
    assert in_state("deferred") == SENSORS
    record_property("calls while all wait", len(sandbox.calls) - while_all_wait)

    before = len(sandbox.calls)
    sandbox.last_data_update = "2024-11-20"
    arrived = time.monotonic()
    until("no deferred sensor", lambda: in_state("deferred") == 0)
    record_property("seconds from the date to the last trigger", round(time.monotonic() - arrived, 1))
    # The first call that finds the date ends all; one may have been under way when it came. The clock is the sandbox's.
    *under_way, ending = sandbox.calls[before:]
    assert len(under_way) <= 1
    assert all(call.time < arrived for call in under_way)
    record_property("seconds from the date to the call", round(ending.time - arrived, 1))
    times = [call.time for call in sandbox.calls]
    record_property("calls in all", len(times))
    assert min(after - before for before, after in pairwise(times)) >= INTERVAL

    assert run.ended() == "success"
    record_property("seconds from the date to the end of the run", round(time.monotonic() - arrived, 1))
    assert in_state("success") == SENSORS
    values = airflow.query("select distinct value from xcom where dag_id = 'a_hundred'", {})
    assert [json.loads(value) for (value,) in values] == ["2024-11-20"]


def test_sensors_that_begin_in_the_triggerer_end_as_all_others(
    airflow: LiveAirflow, triggerer: None, sandbox: OptimoveSandbox
) -> None:
    def states() -> dict[str, tuple[Any, ...]]:
        found = airflow.query(
            "select task_id, state, try_number, pid from task_instance where dag_id = 'beginning_there'", {}
        )
        return {task: tuple(others) for task, *others in found}

    airflow.add_dags(BEGINNING_THERE, "beginning_there")
    run = airflow.run("beginning_there")
    # No process of a worker has seen it yet.
    until("a deferred sensor", lambda: states()["day"] == ("deferred", 1, None))
    looks(sandbox, 2)
    sandbox.last_data_update = "2024-11-20"
    assert run.ended() == "failed"
    ends = {task: ended[:2] for task, ended in states().items()}
    assert ends == {"day": ("success", 1), "day_before": ("skipped", 1), "wrong": ("failed", 1)}


def test_a_dag_runs_once_for_each_date_over_restarts(
    airflow: LiveAirflow, triggerer: None, sandbox: OptimoveSandbox
) -> None:
    watched = Watched(airflow, "data_dates", "OptimoveLastDataUpdateEventTrigger")
    assert watched.state == {"fired": "2024-11-19"}
    looks(sandbox, 2)
    assert watched.events == []

    sandbox.last_data_update = "2024-11-20"
    until("what was fired", lambda: watched.state == {"fired": "2024-11-20"})
    assert watched.runs(1) == [[{"date": "2024-11-20"}]]

    airflow.kill("triggerer")
    sandbox.last_data_update = "2024-11-21"
    airflow.start_component("triggerer")
    # The first date is not fired again, and the other one once.
    until("what came meanwhile", lambda: watched.state == {"fired": "2024-11-21"})
    looks(sandbox, 2)
    assert watched.runs(2) == [[{"date": "2024-11-20"}], [{"date": "2024-11-21"}]]

    # It dies when Airflow has the event, and before it knows that; a slow machine may kill it later.
    sandbox.last_data_update = "2024-11-22"
    until("the event", lambda: len(watched.events) == 3)
    airflow.kill("triggerer")
    watched.keep({"fired": "2024-11-21", "firing": {"date": "2024-11-22"}})
    airflow.start_component("triggerer")
    until("the event once more", lambda: watched.state == {"fired": "2024-11-22"})
    looks(sandbox, 2)
    assert watched.events[2:] == [{"date": "2024-11-22"}, {"date": "2024-11-22", "repeated": True}]

    # Set back by hand; whoever watches already goes on with what it knows.
    watched.keep({"fired": "2024-11-20"})
    looks(sandbox, 2)
    assert len(watched.events) == 4
    airflow.kill("triggerer")
    airflow.start_component("triggerer")
    until("what was set back", lambda: watched.state == {"fired": "2024-11-22"})
    assert watched.events[4:] == [{"date": "2024-11-22"}]


def test_each_executed_campaign_is_in_one_run(
    airflow: LiveAirflow, triggerer: None, sandbox: OptimoveSandbox, record_property: Callable[[str, object], None]
) -> None:
    campaigns = sorted(campaign.number for campaign in sandbox.executed_campaigns(sandbox.today))[:CAMPAIGNS]
    rows = [{"CampaignID": campaign, "Status": "Successful"} for campaign in campaigns]
    executed = [{"CampaignID": campaign, "Date": sandbox.today.isoformat()} for campaign in campaigns]
    sandbox.fail("GetExecutedCampaignDetails", body="[]", times=None)
    watched = Watched(airflow, "campaigns", "OptimoveExecutedCampaignsEventTrigger")
    assert watched.events == []

    sandbox.faults.clear()
    sandbox.fail("GetExecutedCampaignDetails", body=json.dumps(rows), times=None)
    until("all events", lambda: len(watched.events) >= len(executed))
    looks(sandbox, 3, "GetExecutedCampaignDetails")
    assert watched.events == executed
    runs = watched.runs(len(executed))
    record_property("campaigns, runs", (len(executed), len(runs)))
    assert sorted((event for run in runs for event in run), key=lambda event: event["CampaignID"]) == executed
