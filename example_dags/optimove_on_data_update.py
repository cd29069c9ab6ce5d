"""Whenever Optimove has the data of another day: count the customers who moved from one value segment to another.

Copy this file into your dags folder. It needs the connection ``optimove_default`` and a triggerer, which asks Optimove
for the date of its newest data once a minute. Optimove tells changes of the two days before today only: a run that
comes later finds none.

On Airflow 2, which cannot watch an asset, it runs every morning and waits for the data of the day before. By hand, too,
it takes the day before the run, or the one that it is given::

    airflow dags trigger optimove_on_data_update --conf '{"date": "2026-11-20"}'
"""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

import pendulum
from airflow.providers.common.compat.sdk import Asset, Param, dag, get_current_context, task
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS

from airflow_provider_optimove.sensors.optimove import OptimoveLastDataUpdateSensor
from airflow_provider_optimove.triggers.optimove import OptimoveLastDataUpdateEventTrigger

NEW_CUSTOMERS = -1

SCHEDULE: Any = "0 7 * * *"
if AIRFLOW_V_3_0_PLUS:
    from airflow.sdk import AssetWatcher

    # Other DAGs may be scheduled on it as well: schedule=Asset("optimove_data").
    SCHEDULE = Asset(
        "optimove_data", watchers=[AssetWatcher(name="new_data", trigger=OptimoveLastDataUpdateEventTrigger())]
    )


@dag(
    dag_id="optimove_on_data_update",
    schedule=SCHEDULE,
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2},
    params={"date": Param(None, type=["null", "string"], description="By hand only: this day, YYYY-MM-DD")},
    tags=["optimove"],
    doc_md=__doc__,
)
def optimove_on_data_update() -> None:
    @task
    def data_date() -> str:
        """The day that the run is about: the one of the event, or else the day before the run."""
        from airflow_provider_optimove.hooks.optimove import OptimoveHook
        from airflow_provider_optimove.sensors.target_date import run_date

        context = get_current_context()
        if context["params"]["date"]:
            return str(context["params"]["date"])
        started = context.get("triggering_asset_events") or {}
        # A run holds several events when new data came while the DAG could not run.
        dates = [event.extra["payload"]["date"] for events in started.values() for event in events]
        return max(dates, default=(run_date(context, OptimoveHook().timezone) - timedelta(days=1)).isoformat())

    day = data_date()

    # After an event it is done at its first look.
    data_is_ready = OptimoveLastDataUpdateSensor(
        task_id="wait_for_data",
        target_date=day,
        deferrable=True,
        timeout=6 * 60 * 60,
    )

    @task
    def moves_between_segments(day: str) -> dict[str, int]:
        """How many customers moved from one value segment to another on the day; they are read as a stream."""
        from airflow_provider_optimove.hooks.optimove import OptimoveHook

        client = OptimoveHook().client
        names = {NEW_CUSTOMERS: "new"}
        names |= {
            int(segment["ValueSegmentID"]): segment["ValueSegmentName"] for segment in client.get_value_segments()
        }
        moves: Counter[str] = Counter()
        for row in client.get_value_segment_changers(start_date=day, end_date=day):
            before, after = int(row["InitialValueSegmentID"]), int(row["FinalValueSegmentID"])
            # A segment that is gone has no name any more.
            moves[f"{names.get(before, before)} -> {names.get(after, after)}"] += 1
        for move, customers in moves.most_common():
            print(f"{day}: {move}: {customers} customers")
        return dict(moves)

    data_is_ready >> moves_between_segments(day)


optimove_on_data_update()
