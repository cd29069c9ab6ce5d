"""When Optimove has executed a campaign on a channel of Netmera's: have Netmera push it, and report what became of it.

Netmera's API does not tell how many pushes were delivered and opened. These counts come from a file, CSV or JSON Lines,
with one row a template and metric, in any order, and these columns::

    TemplateID,metric,value
    45901,delivered,9120
    45901,opened,1203

``metric`` is ``delivered`` or ``opened``. Rows of the same template and metric are added up.

Copy this file into your dags folder. It needs the connections ``optimove_default`` and ``netmera_default``. On Airflow
3.2, Optimove's event 13, "campaign executed", starts it, with the event listener switched on and registered by
``optimove_listen`` of ``optimove_on_campaign.py``; it skips campaigns on other channels. By hand, and on Airflow 2, it
takes the campaign and the channel::

    airflow dags trigger optimove_to_netmera --conf '{"campaign_id": 6577, "channel_id": 459}'

It then waits up to a day for ``counts-<campaign>-<channel>.csv``, or ``.jsonl``, in ``folder``, or for the file that a
run is given as ``counts``. Have this file written under another name and renamed when it is complete.
"""

from __future__ import annotations

import csv
import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from io import TextIOWrapper
from typing import Any

import pendulum
from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSkipException,
    ObjectStoragePath,
    Param,
    PokeReturnValue,
    dag,
    get_current_context,
    task,
)
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS

from airflow_provider_optimove.assets.optimove import OptimoveEvent, optimove_event
from airflow_provider_optimove.operators.netmera import NetmeraPushEventOperator
from airflow_provider_optimove.operators.optimove import OptimoveUpdateCampaignMetricsOperator

AIRFLOW_HOME = os.environ.get("AIRFLOW_HOME", os.path.expanduser("~/airflow"))
METRICS = {"delivered": 1, "opened": 2}


def added_up(rows: Iterable[Mapping[str, Any]]) -> Counter[tuple[int, int]]:
    """The counts of a file, by TemplateID and MetricID."""
    counts: Counter[tuple[int, int]] = Counter()
    for number, row in enumerate(rows, 1):
        try:
            counts[int(row["TemplateID"]), METRICS[row["metric"]]] += int(row["value"])
        except (KeyError, TypeError, ValueError) as error:
            raise AirflowFailException(
                f"row {number}: expected TemplateID, metric ({' or '.join(METRICS)}) and value, got {row}"
            ) from error
    return counts


@dag(
    dag_id="optimove_to_netmera",
    schedule=optimove_event("campaign_executed") if AIRFLOW_V_3_0_PLUS else None,
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    default_args={"retries": 2},
    params={
        "campaign_id": Param(None, type=["null", "integer"], description="By hand only: the campaign"),
        "channel_id": Param(None, type=["null", "integer"], description="By hand only: the channel"),
        "channels": Param([459, 481], type="array", description="Netmera's channels in your Optimove account"),
        "folder": Param(f"{AIRFLOW_HOME}/optimove", type="string", description="Where counts are left, or a bucket"),
        "counts": Param(None, type=["null", "string"], description="This file, instead of that of the campaign"),
    },
    tags=["optimove", "netmera"],
    doc_md=__doc__,
)
def optimove_to_netmera() -> None:
    @task
    def executed_campaign() -> dict[str, Any]:
        """The campaign, the channel and the time of the event that started the run, else what the run was given."""
        context = get_current_context()
        params = context["params"]
        campaign_id, channel_id, timestamp = params["campaign_id"], params["channel_id"], None
        if None in (campaign_id, channel_id):
            event = OptimoveEvent.from_context(context)
            campaign_id, channel_id, timestamp = event.campaign_id, event.channel_id, event.timestamp
            if None in (campaign_id, channel_id):
                raise AirflowFailException("the event that started the run names no campaign, or no channel")
        if channel_id not in params["channels"]:
            raise AirflowSkipException(f"channel {channel_id} is none of Netmera's: {params['channels']}")
        moment = timestamp or pendulum.now("UTC")
        return {"campaign_id": campaign_id, "channel_id": channel_id, "timestamp": moment.isoformat()}

    campaign = executed_campaign()

    # Netmera pushes twice what it is told twice. So a call whose answer was lost is not made again: the task fails, and
    # somebody looks. docs/netmera.md says what to do then.
    push = NetmeraPushEventOperator(
        task_id="push",
        event_type="bulk",
        campaign_id="{{ ti.xcom_pull(task_ids='executed_campaign')['campaign_id'] }}",
        channel_id="{{ ti.xcom_pull(task_ids='executed_campaign')['channel_id'] }}",
        timestamp="{{ ti.xcom_pull(task_ids='executed_campaign')['timestamp'] }}",
    )

    # Waits without holding a worker between two looks.
    @task.sensor(mode="reschedule", poke_interval=300, timeout=24 * 60 * 60)
    def counts_file(campaign: dict[str, Any]) -> PokeReturnValue:
        """The path of the campaign's file of counts, as soon as it is there."""
        params = get_current_context()["params"]
        name = f"{params['folder']}/counts-{campaign['campaign_id']}-{campaign['channel_id']}"
        paths = [params["counts"]] if params["counts"] else [f"{name}.csv", f"{name}.jsonl"]
        print(f"Looking for {' or '.join(paths)}")
        found = [path for path in paths if ObjectStoragePath(path).exists()]
        return PokeReturnValue(is_done=bool(found), xcom_value=found[0] if found else None)

    @task
    def metrics(path: str, campaign: dict[str, Any]) -> list[dict[str, int]]:
        """The counts of the file, a row for each template and metric."""
        source = ObjectStoragePath(path)
        with TextIOWrapper(source.fs.open(source.path), encoding="utf-8-sig") as lines:
            in_csv = path.endswith(".csv")
            counts = added_up(csv.DictReader(lines) if in_csv else (json.loads(line) for line in lines if line.strip()))
        # Without RecipientGroupID all counts for the first group: name it, too, where campaigns compare several.
        return [
            {
                "CampaignID": campaign["campaign_id"],
                "ChannelID": campaign["channel_id"],
                "TemplateID": template_id,
                "MetricID": metric_id,
                "MetricValue": value,
            }
            for (template_id, metric_id), value in sorted(counts.items())
        ]

    path = counts_file(campaign)
    campaign >> push >> path
    # Here, too, what Optimove may have counted is not sent again.
    OptimoveUpdateCampaignMetricsOperator(task_id="report_metrics", metrics=metrics(path, campaign))


optimove_to_netmera()
