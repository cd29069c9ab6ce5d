"""Every day: report what the customers of an e-mail or push system did with its campaigns, from the file that it left.

The file is a CSV with one row an interaction, in any order, and these columns::

    CustomerID,CampaignID,ChannelID,InteractionDate,TemplateID,EventID
    C0000017,6577,504,2026-11-20,50402,opened

``EventID`` is ``opened``, ``clicked``, ``unsubscribed`` or a number. ``RecipientGroupID`` and ``AppID`` may follow.

Copy this file into your dags folder. It needs the connection ``optimove_default``, and waits for
``interactions-<day of the run>.csv`` in ``folder``, or for the file that a run is given. To try it with one of yours::

    airflow dags test optimove_report_interactions --conf '{"events": "/exports/interactions.csv"}'

There is one run at a time: while the scheduled one waits for its file, triggered ones stay queued.
"""

from __future__ import annotations

import json
import os
from typing import Any

import pendulum
from airflow.providers.common.compat.sdk import (
    Asset,
    ObjectStoragePath,
    Param,
    PokeReturnValue,
    dag,
    get_current_context,
    task,
)

from airflow_provider_optimove.operators.optimove import OptimoveUpdateCampaignInteractionsOperator

# A DAG with schedule=[INTERACTIONS] runs after each report. It finds the numbers of the report, such as "rows" and
# "rejected", in the extra of the asset's event.
INTERACTIONS = Asset("optimove_interactions")

AIRFLOW_HOME = os.environ.get("AIRFLOW_HOME", os.path.expanduser("~/airflow"))


@dag(
    dag_id="optimove_report_interactions",
    schedule="0 8 * * *",
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2},
    params={
        "folder": Param(f"{AIRFLOW_HOME}/optimove", type="string", description="Where the files are left, or a bucket"),
        "events": Param(None, type=["null", "string"], description="This file, instead of that of the day"),
    },
    tags=["optimove"],
    doc_md=__doc__,
)
def optimove_report_interactions() -> None:
    # Waits without holding a worker between two looks. The other system must not write to the file any more when it
    # has this name: let it rename the file as its last step.
    @task.sensor(mode="reschedule", poke_interval=300, timeout=6 * 60 * 60)
    def events_file() -> PokeReturnValue:
        """The path of the day's file, as soon as it is there."""
        from airflow_provider_optimove.hooks.optimove import OptimoveHook
        from airflow_provider_optimove.sensors.target_date import run_date

        context = get_current_context()
        params = context["params"]
        path = params["events"]
        if path is None:
            path = f"{params['folder']}/interactions-{run_date(context, OptimoveHook().timezone)}.csv"
        print(f"Looking for {path}")
        return PokeReturnValue(is_done=ObjectStoragePath(path).exists(), xcom_value=path)

    path = events_file()

    # The whole file is checked before the first row is sent; the rows are then sorted into as few calls as possible.
    report = OptimoveUpdateCampaignInteractionsOperator(
        task_id="report_interactions",
        interactions=path,
        # Some rows that Optimove refuses do not hold up the others: they end in a file, with the reason.
        on_rejected="isolate",
        rejected_path="{{ ti.xcom_pull(task_ids='events_file') }}.rejected.jsonl",
        fail_on_rejected=False,
        # Optimove may count an interaction twice that arrives twice. So rows whose answer was lost are not sent again:
        # the task fails, names them, and somebody looks. "resend" is for those who rather count twice than not at all.
        on_uncertain="fail",
        outlets=[INTERACTIONS],
    )

    @task
    def rejected_interactions(path: str, report: dict[str, Any]) -> dict[str, int]:
        """What Optimove refused, by its own explanation; this is the place to tell somebody."""
        reasons: dict[str, int] = {}
        if report["rejected"]:
            for line in ObjectStoragePath(f"{path}.rejected.jsonl").read_bytes().splitlines():
                explanation = json.loads(line)["explanation"]
                reasons[explanation] = reasons.get(explanation, 0) + 1
        print("{rows} interactions in {calls} calls; {rejected} rejected".format(**report))
        for explanation, count in reasons.items():
            print(f"{count} x {explanation}")
        return reasons

    rejected_interactions(path, report.output)


optimove_report_interactions()
