"""Grant the promotions of a campaign on hold, and tell Optimove who has one before the campaign is sent.

A campaign with conditional promotions waits until its clearance time. Optimove then sends it to the customers who have
their promotion, as far as it was told by that time, and to nobody else.

Copy this file into your dags folder. It needs the connection ``optimove_default``, and your bonus system in ``grant``.
On Airflow 3.2, Optimove's event 5, "campaign on hold", starts it, with the event listener switched on and registered by
``optimove_listen`` of ``optimove_on_campaign.py``. By hand, and on Airflow 2, it takes the campaign and its clearance
time (UTC)::

    airflow dags trigger optimove_conditional_promotions \\
        --conf '{"campaign_id": 6577, "clearance_required_by": "2026-11-20 10:00:00"}'

The files with the campaign's customers stay in its folder: remove old ones as your rules for such data ask.
"""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Iterable, Mapping
from io import TextIOWrapper
from itertools import islice
from typing import Any, NamedTuple

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
from airflow_provider_optimove.operators.optimove import OptimoveUpdateCustomerPromotionStatusOperator

AIRFLOW_HOME = os.environ.get("AIRFLOW_HOME", os.path.expanduser("~/airflow"))
CUSTOMERS_A_CALL = 1_000


def grant(customers: Iterable[Mapping[str, Any]], campaign_id: int) -> set[str]:
    """Give customers their promotions in the bonus system: put the call of yours here.

    It must be harmless to repeat, for Airflow repeats a task that failed: let the bonus system tell grants apart by
    campaign and customer. This stand-in grants nothing, and finds that everybody with a promo code has it.

    :param customers: rows with ``CustomerID`` and ``PromoCode``, which is None without a promotion.
    :returns: the ids of those who have their promotion now.
    """
    return {customer["CustomerID"] for customer in customers if customer["PromoCode"]}


class Hold(NamedTuple):
    """A campaign on hold, and until when."""

    campaign_id: int
    ends: datetime.datetime

    @classmethod
    def of(cls, context: Mapping[str, Any]) -> Hold:
        """What the event says that started the run, else what the run was given."""
        campaign_id, ends = context["params"]["campaign_id"], context["params"]["clearance_required_by"]
        if None in (campaign_id, ends):
            event = OptimoveEvent.from_context(context)
            campaign_id, moment = event.campaign_id, event.clearance_required_by
            if None in (campaign_id, moment):
                raise AirflowFailException("the event that started the run names no campaign, or no clearance time")
            return cls(campaign_id, moment)
        moment = datetime.datetime.fromisoformat(ends)
        return cls(campaign_id, moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC))


def fail_after_clearance_time(context: Mapping[str, Any]) -> None:
    """End a task for good, whatever its retries, when it would be too late."""
    hold = Hold.of(context)
    late = datetime.datetime.now(datetime.UTC) - hold.ends
    if late >= datetime.timedelta(0):
        raise AirflowFailException(
            f"campaign {hold.campaign_id} was on hold until {hold.ends}, {late} ago:"
            " it went to those whose promotions Optimove knew of by then"
        )


@dag(
    dag_id="optimove_conditional_promotions",
    schedule=optimove_event("campaign_on_hold") if AIRFLOW_V_3_0_PLUS else None,
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    default_args={
        "retries": 5,
        "retry_delay": datetime.timedelta(minutes=1),
        # Asked at the beginning of each try of each task.
        "pre_execute": fail_after_clearance_time,
    },
    params={
        "campaign_id": Param(None, type=["null", "integer"], description="By hand only: the campaign on hold"),
        "clearance_required_by": Param(
            None, type=["null", "string"], description="By hand only: its clearance time, 2026-11-20 10:00:00 in UTC"
        ),
        "folder": Param(f"{AIRFLOW_HOME}/optimove", type="string", description="For files between tasks, or a bucket"),
    },
    tags=["optimove"],
    doc_md=__doc__,
)
def optimove_conditional_promotions() -> None:
    @task
    def customers_on_hold() -> dict[str, Any]:
        """The campaign, and a file with its customers. They are read as a stream: there may be a million."""
        from airflow_provider_optimove.hooks.optimove import OptimoveHook

        context = get_current_context()
        campaign_id = Hold.of(context).campaign_id
        folder = ObjectStoragePath(context["params"]["folder"]) / f"campaign-{campaign_id}" / context["run_id"]
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "customers.jsonl"
        # A customer whom the campaign reaches on several channels may come several times, and gets one promotion.
        seen = set()
        with path.fs.open(path.path, "wb") as file:
            for row in OptimoveHook().rows("GetProcessedCampaignCustomers", CampaignID=campaign_id):
                if row["CustomerID"] not in seen:
                    seen.add(row["CustomerID"])
                    file.write(json.dumps(row).encode() + b"\n")
        print(f"Campaign {campaign_id} has {len(seen)} customers")
        return {"campaign_id": campaign_id, "path": str(path)}

    @task
    def grant_promotions(on_hold: dict[str, Any]) -> str:
        """A file that says of each customer whether the promotion was granted."""
        source = ObjectStoragePath(on_hold["path"])
        path = source.parent / "statuses.jsonl"
        with TextIOWrapper(source.fs.open(source.path)) as lines, path.fs.open(path.path, "wb") as file:
            customers = map(json.loads, lines)
            while together := list(islice(customers, CUSTOMERS_A_CALL)):
                granted = grant(together, on_hold["campaign_id"])
                for customer in together:
                    status = {"CustomerID": customer["CustomerID"], "Status": customer["CustomerID"] in granted}
                    file.write(json.dumps(status).encode() + b"\n")
        return str(path)

    status_path = grant_promotions(customers_on_hold())

    OptimoveUpdateCustomerPromotionStatusOperator(
        task_id="update_promotion_status",
        campaign_id="{{ ti.xcom_pull(task_ids='customers_on_hold')['campaign_id'] }}",
        promos_updated=status_path,
        # All others are told in time; the task then fails, for there may be time left to mend what was refused.
        on_rejected="isolate",
        rejected_path="{{ ti.xcom_pull(task_ids='grant_promotions') }}.rejected.jsonl",
    )


optimove_conditional_promotions()
