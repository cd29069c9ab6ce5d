"""Sensors that begin in the triggerer: what Airflow is given, and what the trigger makes of it there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, task, task_group
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_3_PLUS

from airflow_provider_optimove.exceptions import OptimoveInputError
from airflow_provider_optimove.sandbox import OptimoveSandbox
from airflow_provider_optimove.sensors.optimove import OptimoveCampaignSensor, OptimoveLastDataUpdateSensor
from airflow_provider_optimove.triggers.optimove import OptimoveLastDataUpdateTrigger

pytest_plugins = ["airflow_provider_optimove.sandbox.pytest_plugin"]

TRIGGERS = "airflow_provider_optimove.triggers.optimove"
STARTING: dict[str, Any] = {"deferrable": True, "start_from_trigger": True, "poke_interval": 30, "timeout": 600}

from_3_3_on = pytest.mark.skipif(not AIRFLOW_V_3_3_PLUS, reason="before Airflow 3.3 a sensor begins on a worker")

DAG_FILE = """
from datetime import datetime

from airflow.providers.common.compat.sdk import DAG, task, task_group

from airflow_provider_optimove.sensors.optimove import OptimoveCampaignSensor, OptimoveLastDataUpdateSensor

STARTING = {{"deferrable": True, "start_from_trigger": True, "poke_interval": 0.1, "timeout": 60}}

with DAG("start_from_trigger", schedule=None, start_date=datetime(2024, 1, 1), params={{"day": "{day}"}}):
    OptimoveLastDataUpdateSensor(task_id="day", target_date="{{{{ params.day }}}}", **STARTING)
    OptimoveLastDataUpdateSensor(task_id="day_before", timezone="UTC", **STARTING)
    OptimoveCampaignSensor(task_id="campaign", campaign_id="{{{{ {campaign} }}}}", **STARTING)
    OptimoveLastDataUpdateSensor.partial(task_id="mapped", **STARTING).expand(target_date=["2024-11-19", "{day}"])

    @task
    def returned_day():
        return "{day}"

    OptimoveLastDataUpdateSensor(task_id="returned", target_date=returned_day(), **STARTING)

    @task_group
    def group(day):
        OptimoveLastDataUpdateSensor(task_id="wait", target_date=day, **STARTING)

    group.expand(day=["2024-11-19", "{day}"])
"""


@from_3_3_on
@pytest.mark.parametrize(
    ("given", "passed_on"),
    [
        ({"target_date": "{{ ds }}"}, {"target_date": "{{ ds }}", "timezone": None}),
        ({"target_date": date(2024, 11, 20)}, {"target_date": "2024-11-20", "timezone": None}),
        ({"target_date": datetime(2024, 11, 20, 23)}, {"target_date": "2024-11-20", "timezone": None}),
        ({"timezone": "Europe/Berlin"}, {"target_date": None, "timezone": "Europe/Berlin"}),
    ],
)
def test_airflow_gets_the_trigger_of_a_date(given: dict[str, Any], passed_on: dict[str, Any]) -> None:
    sensor = OptimoveLastDataUpdateSensor(task_id="wait", **given, **STARTING)
    start = sensor.start_trigger_args
    assert sensor.start_from_trigger
    assert start is not None
    assert start.trigger_cls == f"{TRIGGERS}.OptimoveLastDataUpdateTrigger"
    assert start.trigger_kwargs == {"optimove_conn_id": "optimove_default", "poll_interval": 30} | passed_on
    assert (start.next_method, start.next_kwargs, start.timeout) == ("execute_complete", None, timedelta(seconds=600))


@from_3_3_on
def test_airflow_gets_the_trigger_of_a_campaign() -> None:
    start = OptimoveCampaignSensor(
        task_id="wait", campaign_id="{{ params.id }}", failed_states=["Failed", "Error"], **STARTING
    ).start_trigger_args
    assert start is not None
    assert start.trigger_cls == f"{TRIGGERS}.OptimoveCampaignTrigger"
    assert start.trigger_kwargs == {
        "optimove_conn_id": "optimove_default",
        "poll_interval": 30,
        "campaign_id": "{{ params.id }}",
        "channel_id": None,
        "allowed_states": ("Successful",),
        "failed_states": ["Failed", "Error"],
    }


@pytest.mark.parametrize("given", [{"deferrable": False}, {"start_from_trigger": False}])
def test_otherwise_a_sensor_begins_on_a_worker(given: dict[str, Any]) -> None:
    sensor = OptimoveLastDataUpdateSensor(task_id="wait", target_date="2024-11-20", **STARTING | given)
    assert not sensor.start_from_trigger
    assert sensor.start_trigger_args is None


@pytest.mark.skipif(AIRFLOW_V_3_3_PLUS, reason="it begins in the triggerer there")
def test_before_airflow_3_3_a_sensor_begins_on_a_worker() -> None:
    assert not OptimoveCampaignSensor(task_id="wait", campaign_id=1, **STARTING).start_from_trigger


def test_what_is_known_on_a_worker_only_begins_there() -> None:
    with DAG("start_from_trigger", schedule=None):

        @task
        def day() -> str:
            return "2024-11-20"

        @task
        def number() -> int:
            return 221

        returned: Any = day()
        campaign: Any = number()
        sensors = [
            OptimoveLastDataUpdateSensor(task_id="date", target_date=returned, **STARTING),
            OptimoveCampaignSensor(task_id="campaign", campaign_id=campaign, **STARTING),
            OptimoveCampaignSensor(task_id="state", campaign_id=1, allowed_states=[returned], **STARTING),
        ]
    assert [sensor.upstream_task_ids for sensor in sensors] == [{"day"}, {"number"}, {"day"}]
    assert not any(sensor.start_from_trigger for sensor in sensors)


def test_in_a_mapped_task_group_a_sensor_begins_on_a_worker() -> None:
    with DAG("start_from_trigger", schedule=None):

        @task_group
        def for_each(day: Any) -> None:
            OptimoveLastDataUpdateSensor(task_id="given", target_date=day, **STARTING)
            OptimoveLastDataUpdateSensor(task_id="other", target_date="2024-11-20", **STARTING)

            @task_group
            def inside() -> None:
                OptimoveLastDataUpdateSensor(task_id="nested", target_date="2024-11-20", **STARTING)

            inside()

        group: Any = for_each.expand(day=["2024-11-20", "2024-11-19"])
    sensors = {sensor.task_id: sensor for sensor in group.iter_tasks()}
    assert set(sensors) == {"for_each.given", "for_each.other", "for_each.inside.nested"}
    assert not any(sensor.start_from_trigger for sensor in sensors.values())


def test_one_sensor_does_not_change_another() -> None:
    OptimoveLastDataUpdateSensor(task_id="first", target_date="2024-11-20", **STARTING)
    assert OptimoveLastDataUpdateSensor(task_id="second", target_date="2024-11-20").start_trigger_args is None


def test_the_day_before_needs_a_zone() -> None:
    with pytest.raises(OptimoveInputError, match="start_from_trigger: needs target_date or timezone"):
        OptimoveLastDataUpdateSensor(task_id="wait", **STARTING)


@from_3_3_on
@pytest.mark.parametrize(("zone", "awaited"), [("UTC", "2024-11-19"), ("Europe/Berlin", "2024-11-20")])
def test_the_trigger_waits_for_the_day_before_its_run(zone: str, awaited: str) -> None:
    trigger = OptimoveLastDataUpdateTrigger("optimove_default", None, timezone=zone)
    moment = datetime(2024, 11, 20, 23, 30, tzinfo=UTC)
    run = SimpleNamespace(run_type="scheduled", data_interval_end=moment)
    trigger.task_instance = None
    trigger.render_template_fields({"dag_run": run, "dag": SimpleNamespace()})  # type: ignore[typeddict-item]
    assert trigger._wait().arguments == {"target_date": awaited}


def test_a_trigger_without_date_and_run_says_so() -> None:
    async def first_event() -> Any:
        return await anext(OptimoveLastDataUpdateTrigger("optimove_default", None).run())

    event = asyncio.run(first_event())
    assert event.payload["status"] == "error"
    assert event.payload["message"].startswith("target_date: None is not a date")


def test_sensors_end_with_what_they_return(optimove_sandbox: OptimoveSandbox, run_dag: Callable[[str], Any]) -> None:
    day = optimove_sandbox.last_data_update.isoformat()
    executed = optimove_sandbox.executed_campaigns(optimove_sandbox.last_data_update)
    campaign = next(campaign for campaign in executed if campaign.status == "Successful")
    run = run_dag(DAG_FILE.format(day=day, campaign=campaign.number))
    assert set(run.states.values()) == {"success"}
    assert [run.xcom(task) for task in ("day", "day_before")] == [day, day]
    assert run.xcom("campaign")["Status"] == "Successful"
    assert run.xcom("returned") == day
    assert [run.xcom(task, map_index) for task in ("mapped", "group.wait") for map_index in (0, 1)] == [day] * 4
