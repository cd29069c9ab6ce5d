"""Every morning: the customers of the campaigns that were executed yesterday, as files, a folder a day.

Copy this file into your dags folder. It needs the connection ``optimove_default``, and writes below ``folder``, which
may also be in a bucket (``s3://bucket/optimove``). To try it, or to read a day once more::

    airflow dags test optimove_extract_customers --conf '{"date": "2026-11-20"}'

The same calls, in three ways:

* ``customers_of_all_campaigns``: a list of calls without a name in braces in the path. One task, one file, with the
  arguments of the calls as columns. The way for a table that holds all campaigns.
* ``customers_by_campaign``: a list of calls with ``{CampaignID}`` in the path. One task, a file a campaign. The way for
  many campaigns of moderate size: no task instance for each, and one place in the log.
* ``sends_by_campaign``: ``expand()``. A task instance a campaign, each with its own retries, several at once. The way
  for few large campaigns, where one that fails shall not read the others again.
"""

from __future__ import annotations

import gzip
import os
from datetime import timedelta
from typing import Any

import pendulum
from airflow.providers.common.compat.sdk import (
    Asset,
    ObjectStoragePath,
    Param,
    dag,
    get_current_context,
    task,
)

from airflow_provider_optimove.transfers.optimove_to_object_storage import OptimoveToObjectStorageOperator

# A DAG with schedule=[CUSTOMERS] runs when the day's file is there. It finds "rows", "bytes" and "pages" in the extra
# of the asset's event.
CUSTOMERS = Asset("optimove_customers")

AIRFLOW_HOME = os.environ.get("AIRFLOW_HOME", os.path.expanduser("~/airflow"))
DAY_FOLDER = "{{ params.folder }}/date={{ ti.xcom_pull(task_ids='execution_date') }}"


@dag(
    dag_id="optimove_extract_customers",
    schedule="0 7 * * *",
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2},
    params={
        "folder": Param(f"{AIRFLOW_HOME}/optimove", type="string", description="Where the files go, or a bucket"),
        "date": Param(None, type=["null", "string"], description="This day, YYYY-MM-DD, instead of yesterday"),
    },
    tags=["optimove"],
    doc_md=__doc__,
)
def optimove_extract_customers() -> None:
    @task
    def execution_date() -> str:
        """The day before the run: all of its campaigns were executed, whatever their hour."""
        from airflow_provider_optimove.hooks.optimove import OptimoveHook
        from airflow_provider_optimove.sensors.target_date import run_date

        context = get_current_context()
        yesterday = (run_date(context, OptimoveHook().timezone) - timedelta(days=1)).isoformat()
        return context["params"]["date"] or yesterday

    @task
    def executed_campaigns(date: str) -> list[dict[str, int]]:
        """The arguments of one call for each campaign of the day."""
        from airflow_provider_optimove.hooks.optimove import OptimoveHook

        campaigns = OptimoveHook().client.get_executed_campaign_details(date=date)
        print(f"{len(campaigns)} campaigns were executed on {date}")
        # The same campaign can stand there more than once.
        return [{"CampaignID": number} for number in sorted({int(campaign["CampaignID"]) for campaign in campaigns})]

    calls = executed_campaigns(execution_date())

    one_file = OptimoveToObjectStorageOperator(
        task_id="customers_of_all_campaigns",
        function="GetCustomerExecutionDetailsByCampaign",
        parameters=calls,
        path=f"{DAY_FOLDER}/customers.csv",
        # What a table is loaded from should have the same columns on every day.
        columns=["CampaignID", "CustomerID", "ChannelID", "ActionID", "TemplateID", "ScheduleTime", "PromoCode"],
        rename={"ScheduleTime": "ScheduledAt"},
        # Rows that shifted between two pages, because the day's data arrived meanwhile, are not what a bonus should be
        # granted on: the task fails, and its retry reads again.
        on_data_update="fail",
        outlets=[CUSTOMERS],
    )

    files = OptimoveToObjectStorageOperator(
        task_id="customers_by_campaign",
        function="GetCustomerExecutionDetailsByCampaign",
        parameters=calls,
        path=f"{DAY_FOLDER}/campaign={{CampaignID}}/customers.jsonl.gz",
        on_data_update="fail",
    )

    OptimoveToObjectStorageOperator.partial(
        task_id="sends_by_campaign",
        function="GetCustomerSendDetailsByCampaign",
        path=f"{DAY_FOLDER}/campaign={{CampaignID}}/sends.jsonl.gz",
    ).expand(parameters=calls)

    @task
    def check_counts(all_campaigns: dict[str, Any], by_campaign: list[dict[str, Any]]) -> dict[str, int]:
        """Read the files once more, and compare: both ways must have given the same rows."""
        rows = 0
        for file in by_campaign:
            with ObjectStoragePath(file["path"]).open("rb") as stored, gzip.open(stored) as lines:
                found = sum(1 for _ in lines)
            print(f"{file['path']}: {found} rows")
            if found != file["rows"]:
                raise ValueError(f"{file['path']} holds {found} rows, and {file['rows']} were read")
            rows += found
        if rows != all_campaigns["rows"]:
            raise ValueError(f"{all_campaigns['path']} holds {all_campaigns['rows']} rows, the others {rows}")
        empty = sum(not file["rows"] for file in by_campaign)
        return {"campaigns": len(by_campaign), "campaigns_without_customers": empty, "rows": rows}

    check_counts(one_file.output, files.output)


optimove_extract_customers()
