"""SessionM's campaigns as promotions in Optimove, and what customers do with them as interactions.

``sessionm_promotions``, every day: each active campaign of SessionM is a promotion that Optimove's campaigns can use.
Its external id is the PromoCode; a campaign that has a new name gets it in Optimove, too.

``sessionm_interactions``, every day: how far the customers of Optimove's campaigns are in SessionM's. Which state
counts as which interaction is the parameter ``events``; a customer's interaction is reported once, on the day it is
seen. Tell it in ``campaigns`` which campaign of Optimove's is about which of SessionM's, by its permalink. By hand::

    airflow dags trigger sessionm_interactions --conf '{"campaigns": {"6577": "winter-26"}, "channel_id": 506}'

Which campaigns the sandbox has to try it with, docs/sessionm.md tells.

Copy this file into your dags folder. It needs the connections ``sessionm_default`` and ``optimove_default``. Customers
have the same id in both: SessionM's external id is Optimove's CustomerID.

The files stay in ``folder``. Those of ``sessionm_interactions`` hold customers' ids, and tell later runs what was
reported: remove them when their campaigns are over. When a run has failed, clear what failed of it: no later run
reports what is in its file.
"""

from __future__ import annotations

import json
import logging
import os
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pendulum
from airflow.providers.common.compat.sdk import ObjectStoragePath, Param, dag, get_current_context, task

from airflow_provider_optimove.operators.optimove import (
    OptimoveAddPromotionsOperator,
    OptimoveUpdateCampaignInteractionsOperator,
)
from airflow_provider_optimove.transfers.sessionm_to_object_storage import SessionMCampaignsToObjectStorageOperator

log = logging.getLogger(__name__)

AIRFLOW_HOME = os.environ.get("AIRFLOW_HOME", os.path.expanduser("~/airflow"))
FOLDER = Param(f"{AIRFLOW_HOME}/sessionm", type="string", description="Where files go, or a bucket")


@dag(
    dag_id="sessionm_promotions",
    schedule="0 5 * * *",
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2},
    params={"folder": FOLDER},
    tags=["optimove", "sessionm"],
    doc_md=__doc__,
)
def sessionm_promotions() -> None:
    # Two columns, with the names that Optimove has for them.
    active_campaigns = SessionMCampaignsToObjectStorageOperator(
        task_id="active_campaigns",
        path="{{ params.folder }}/promotions.csv",
        columns=["external_id", "name"],
        rename={"external_id": "PromoCode", "name": "PromotionName"},
    )
    # What Optimove does not take holds nobody up: it ends in a file, and the task fails when all others are added.
    add_promotions = OptimoveAddPromotionsOperator(
        task_id="add_promotions",
        promotions="{{ ti.xcom_pull(task_ids='active_campaigns')['path'] }}",
        on_rejected="isolate",
        rejected_path="{{ ti.xcom_pull(task_ids='active_campaigns')['path'] }}.rejected.jsonl",
    )
    active_campaigns >> add_promotions


sessionm_promotions()


def states_of_customers(
    campaign_id: int, permalink: str, channel_id: int | None
) -> Iterator[tuple[dict[str, Any], str]]:
    """What each customer of a campaign got in Optimove, and her state in SessionM.

    :param campaign_id: Optimove's campaign.
    :param permalink: SessionM's campaign.
    :param channel_id: the channel; None: all channels.
    :returns: Optimove's rows, each with a state, such as ``opted_in``; without customers whom SessionM does not know.
    """
    from airflow_provider_optimove.exceptions import SessionMError
    from airflow_provider_optimove.hooks.optimove import OptimoveHook
    from airflow_provider_optimove.hooks.sessionm import SessionMHook

    sessionm = SessionMHook()
    channel = {} if channel_id is None else {"ChannelID": channel_id}
    # A customer may come several times, on several channels.
    states: dict[str, str] = {}
    details = {"CampaignID": campaign_id, **channel}
    for row in OptimoveHook().rows("GetCustomerExecutionDetailsByCampaign", details):
        customer = row["CustomerID"]
        if customer not in states:
            try:
                states[customer] = sessionm.progress(permalink=permalink, external_id=customer)["state"]
            except SessionMError as error:
                if (error.code or "").lower() != "user_not_found":
                    raise
                states[customer] = "unknown"
        yield row, states[customer]
    if states:
        print(f"Campaign {campaign_id}, {permalink}: {Counter(states.values())}")
    else:
        where = "" if channel_id is None else f" on channel {channel_id}"
        log.warning("Campaign %s has no customers in Optimove%s: nobody was asked for in SessionM", campaign_id, where)


@dag(
    dag_id="sessionm_interactions",
    schedule="0 8 * * *",
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    # Each run has to see what those before it report.
    max_active_runs=1,
    default_args={"retries": 2},
    params={
        "folder": FOLDER,
        "campaigns": Param({}, type="object", description="SessionM's permalink by Optimove's campaign id"),
        "channel_id": Param(None, type=["null", "integer"], description="Only this channel of Optimove's"),
        "events": Param(
            {"opted_in": "opened", "completed": "clicked"},
            type="object",
            description="Optimove's event by SessionM's state: opened, clicked, unsubscribed or a number",
        ),
    },
    tags=["optimove", "sessionm"],
    doc_md=__doc__,
)
def sessionm_interactions() -> None:
    @task
    def new_interactions() -> str:
        """A file with the interactions that no run before has reported."""
        from airflow_provider_optimove.hooks.optimove import OptimoveHook

        context = get_current_context()
        params = context["params"]
        folder = ObjectStoragePath(params["folder"]) / "interactions"
        path = folder / context["run_id"] / "interactions.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)

        def facts_of(interaction: dict[str, Any]) -> tuple[Any, ...]:
            return tuple(interaction[name] for name in ("CampaignID", "CustomerID", "ChannelID", "EventID"))

        reported = set()
        # A retry makes the file of its own run anew, and with the same rows.
        runs = folder.iterdir() if folder.exists() else ()
        for earlier in (run / path.name for run in runs if run.name != context["run_id"]):
            if earlier.exists():
                reported |= {facts_of(json.loads(line)) for line in earlier.read_text().splitlines()}
        today = pendulum.now(OptimoveHook().timezone or "UTC").date().isoformat()
        count = 0
        # It gets its name when it is complete: a later run must not take what is in half of it for reported.
        unfinished = path.parent / "unfinished.jsonl"
        with path.fs.open(unfinished.path, "wb") as file:
            for campaign_id, permalink in params["campaigns"].items():
                for row, state in states_of_customers(int(campaign_id), permalink, params["channel_id"]):
                    if state not in params["events"]:
                        continue
                    interaction = {
                        "CustomerID": row["CustomerID"],
                        "CampaignID": int(campaign_id),
                        "ChannelID": row["ChannelID"],
                        "InteractionDate": today,
                        "TemplateID": row["TemplateID"],
                        "EventID": params["events"][state],
                    }
                    if facts_of(interaction) not in reported:
                        reported.add(facts_of(interaction))
                        file.write(json.dumps(interaction).encode() + b"\n")
                        count += 1
        path.fs.mv(unfinished.path, path.path)
        print(f"{count} new interactions")
        return str(path)

    OptimoveUpdateCampaignInteractionsOperator(
        task_id="report_interactions",
        interactions=new_interactions(),
        # Some rows that Optimove refuses do not hold up the others: they end in a file, with the reason.
        on_rejected="isolate",
        rejected_path="{{ ti.xcom_pull(task_ids='new_interactions') }}.rejected.jsonl",
        fail_on_rejected=False,
        # Optimove may count an interaction twice that arrives twice: rows whose answer was lost are not sent again.
        on_uncertain="fail",
    )


sessionm_interactions()
