"""When Optimove has executed a campaign on a channel: hand its customers over to the system that sends it, and report.

Copy this file into your dags folder. It needs Airflow 3.2, the connection ``optimove_default`` with a listener secret,
the event listener switched on (``[optimove] listener_connections = optimove_default``), and your own system in
``hand_over``.

* ``optimove_listen`` has Optimove post its events here. It runs once; start it again when the listener secret, or the
  address of Airflow, has changed.
* ``optimove_on_campaign`` runs for each event 13, "campaign executed". By hand, and on Airflow 2, it takes the campaign
  and the channel::

    airflow dags trigger optimove_on_campaign --conf '{"campaign_id": 6577, "channel_id": 504}'

  The file with the campaign's customers stays in its folder: remove old ones as your rules for such data ask.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from io import TextIOWrapper
from itertools import islice
from typing import Any

import pendulum
from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    ObjectStoragePath,
    Param,
    dag,
    get_current_context,
    task,
)
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS

from airflow_provider_optimove.assets.optimove import OptimoveEvent, optimove_event
from airflow_provider_optimove.operators.optimove import (
    OptimoveRegisterEventListenerOperator,
    OptimoveUpdateCampaignMetricsOperator,
)

AIRFLOW_HOME = os.environ.get("AIRFLOW_HOME", os.path.expanduser("~/airflow"))
CUSTOMERS_A_CALL = 1_000
SENT, DELIVERED = 0, 1


def hand_over(customers: Iterable[Mapping[str, Any]], campaign_id: int, channel_id: int) -> Counter[tuple[int, int]]:
    """Have customers get what the campaign has for them: put the call of the system that sends it here.

    It must be harmless to repeat, for Airflow repeats a task that failed, and the same event can come again: let the
    other system tell what it sends apart by campaign, channel and customer. This stand-in sends nothing, and finds that
    all was sent and delivered.

    :param customers: rows with ``CustomerID``, ``ActionID``, ``TemplateID``, ``ScheduleTime`` and ``PromoCode``.
    :returns: figures by TemplateID and MetricID (0 sent, 1 delivered, 2 opened, 3 clicked, 4 unsubscribed).
    """
    figures: Counter[tuple[int, int]] = Counter()
    for customer in customers:
        figures[customer["TemplateID"], SENT] += 1
        figures[customer["TemplateID"], DELIVERED] += 1
    return figures


@dag(
    dag_id="optimove_listen",
    schedule="@once",
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    default_args={"retries": 2},
    tags=["optimove"],
    doc_md=__doc__,
)
def optimove_listen() -> None:
    # Both are looked up first: what is registered already is left alone.
    OptimoveRegisterEventListenerOperator.partial(task_id="register").expand(
        # The second one is for optimove_conditional_promotions.
        event_type=["campaign_executed", "campaign_on_hold"]
    )


@dag(
    dag_id="optimove_on_campaign",
    schedule=optimove_event("campaign_executed") if AIRFLOW_V_3_0_PLUS else None,
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    default_args={"retries": 2},
    params={
        "campaign_id": Param(None, type=["null", "integer"], description="By hand only: the campaign"),
        "channel_id": Param(None, type=["null", "integer"], description="By hand only: the channel"),
        "folder": Param(f"{AIRFLOW_HOME}/optimove", type="string", description="For files between tasks, or a bucket"),
    },
    tags=["optimove"],
    doc_md=__doc__,
)
def optimove_on_campaign() -> None:
    @task
    def executed_campaign() -> dict[str, int]:
        """The campaign and the channel of the event that started the run, else those that the run was given."""
        context = get_current_context()
        campaign_id, channel_id = context["params"]["campaign_id"], context["params"]["channel_id"]
        if None in (campaign_id, channel_id):
            event = OptimoveEvent.from_context(context)
            campaign_id, channel_id = event.campaign_id, event.channel_id
            if None in (campaign_id, channel_id):
                raise AirflowFailException("the event that started the run names no campaign, or no channel")
        print(f"Campaign {campaign_id} was executed on channel {channel_id}")
        return {"campaign_id": campaign_id, "channel_id": channel_id}

    @task
    def customers(campaign: dict[str, int]) -> str:
        """A file with the campaign's customers on the channel. They are read as a stream: there may be a million."""
        from airflow_provider_optimove.hooks.optimove import OptimoveHook

        context = get_current_context()
        name = f"campaign-{campaign['campaign_id']}"
        folder = ObjectStoragePath(context["params"]["folder"]) / name / context["run_id"]
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "customers.jsonl"
        # A customer may come more than once, and gets one message.
        seen = set()
        with path.fs.open(path.path, "wb") as file:
            for row in OptimoveHook().rows("GetCustomerExecutionDetailsByCampaign", campaign):
                if row["CustomerID"] not in seen:
                    seen.add(row["CustomerID"])
                    file.write(json.dumps(row).encode() + b"\n")
        print(f"{len(seen)} customers")
        return str(path)

    @task
    def send(customers_path: str, campaign: dict[str, int]) -> list[dict[str, int]]:
        """The figures of what was sent, a row for each template and metric."""
        figures: Counter[tuple[int, int]] = Counter()
        source = ObjectStoragePath(customers_path)
        with TextIOWrapper(source.fs.open(source.path)) as lines:
            rows = map(json.loads, lines)
            while together := list(islice(rows, CUSTOMERS_A_CALL)):
                figures += hand_over(together, **campaign)
        # Without RecipientGroupID all counts for the first group: name it, too, where campaigns compare several.
        return [
            {
                "CampaignID": campaign["campaign_id"],
                "ChannelID": campaign["channel_id"],
                "TemplateID": template_id,
                "MetricID": metric_id,
                "MetricValue": value,
            }
            for (template_id, metric_id), value in sorted(figures.items())
        ]

    campaign = executed_campaign()
    # Optimove may count figures twice that arrive twice. So those whose answer was lost are not sent again: the task
    # fails, and somebody looks.
    OptimoveUpdateCampaignMetricsOperator(task_id="report_metrics", metrics=send(customers(campaign), campaign))


if AIRFLOW_V_3_0_PLUS:
    optimove_listen()
optimove_on_campaign()
