"""Every morning: wait for Optimove's data, read whom the day's campaigns reach, and add promotions for them.

Copy this file into your dags folder. It needs the connection ``optimove_default``. Days are those of the connection's
time zone, or of the DAG's where the connection names none.
"""

from __future__ import annotations

from typing import Any

import pendulum
from airflow.providers.common.compat.sdk import dag, get_current_context, task

from airflow_provider_optimove.operators.optimove import OptimoveAddPromotionsOperator
from airflow_provider_optimove.sensors.optimove import OptimoveLastDataUpdateSensor


@dag(
    dag_id="optimove_daily",
    schedule="0 7 * * *",
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2},
    tags=["optimove"],
    doc_md=__doc__,
)
def optimove_daily() -> None:
    # Waits for the data of the day before the run, without holding a worker between two looks.
    data_is_ready = OptimoveLastDataUpdateSensor(
        task_id="wait_for_data",
        mode="reschedule",
        poke_interval=300,
        timeout=6 * 60 * 60,
    )

    @task
    def executed_campaigns() -> list[int]:
        """The campaigns of the run's own day.

        Optimove's campaign functions take the day on which campaigns are executed. That is not the date of the newest
        data, which the sensor returns: a day's campaigns work on the data of the day before, and a run that is
        repeated later finds newer data.
        """
        from airflow_provider_optimove.hooks.optimove import OptimoveHook
        from airflow_provider_optimove.sensors.target_date import run_date

        hook = OptimoveHook()
        execution_date = run_date(get_current_context(), hook.timezone)
        campaigns = hook.client.get_executed_campaign_details(date=execution_date)
        print(f"{len(campaigns)} campaigns are executed on {execution_date}")
        return [int(campaign["CampaignID"]) for campaign in campaigns]

    @task
    def reached_customers(campaign_id: int) -> dict[str, int]:
        """How many customers a campaign reaches; the customers themselves are read as a stream and not kept."""
        from airflow_provider_optimove.hooks.optimove import OptimoveHook

        rows = OptimoveHook().client.get_customer_execution_details_by_campaign(campaign_id=campaign_id)
        return {"campaign_id": campaign_id, "customers": len({row["CustomerID"] for row in rows})}

    # On a day without campaigns nothing is mapped, and the run goes on with nothing: no rows, on Airflow 2 even None.
    @task(trigger_rule="none_failed")
    def follow_up_promotions(campaigns: list[dict[str, int]] | None) -> list[dict[str, str]]:
        """One promotion a campaign that reached somebody, for the campaign that follows it."""
        return [
            {
                "PromoCode": f"FOLLOW-UP-{campaign['campaign_id']}",
                "PromotionName": f"Follow-up of campaign {campaign['campaign_id']}",
            }
            for campaign in campaigns or []
            if campaign["customers"]
        ]

    @task(trigger_rule="none_failed")
    def summary(campaigns: list[dict[str, int]] | None, added: dict[str, Any]) -> dict[str, int]:
        """What the run did, as numbers in one place."""
        counts = list(campaigns or [])
        # A customer of two campaigns counts twice.
        result = {
            "campaigns": len(counts),
            "reached": sum(count["customers"] for count in counts),
            "promotions": added["rows"],
        }
        print("{campaigns} campaigns reached {reached} customers in all; {promotions} promotions".format(**result))
        return result

    campaign_ids = executed_campaigns()
    campaigns = reached_customers.expand(campaign_id=campaign_ids)
    add_promotions = OptimoveAddPromotionsOperator(
        task_id="add_promotions",
        promotions=follow_up_promotions(campaigns),
    )
    data_is_ready >> campaign_ids
    summary(campaigns, add_promotions.output)


optimove_daily()
