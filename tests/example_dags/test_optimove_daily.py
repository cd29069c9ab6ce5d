"""The daily example DAG, copied unchanged into the dags folder of a real Airflow, and everything it writes."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path
from typing import Any

from airflow_provider_optimove.sandbox import OptimoveSandbox

pytest_plugins = ["airflow_provider_optimove.sandbox.pytest_plugin"]

SOURCE = (Path(__file__).parents[2] / "example_dags" / "optimove_daily.py").read_text()


def test_it_runs_end_to_end(optimove_sandbox: OptimoveSandbox, run_dag: Callable[[str], Any]) -> None:
    optimove_sandbox.last_data_update = datetime.datetime.now(datetime.UTC).date()
    run = run_dag(SOURCE)
    assert run.state == "success"
    assert set(run.states.values()) == {"success"}
    campaign_ids = run.xcom("executed_campaigns")
    assert campaign_ids
    assert optimove_sandbox.promotions == {
        f"FOLLOW-UP-{campaign}": f"Follow-up of campaign {campaign}" for campaign in campaign_ids
    }
    summary = run.xcom("summary")
    assert summary["campaigns"] == summary["promotions"] == len(campaign_ids)
    reached = optimove_sandbox.calls_of("GetCustomerExecutionDetailsByCampaign")
    assert sorted(int(call.query["CampaignID"]) for call in reached) == sorted(campaign_ids)
    customers = [run.xcom("reached_customers", map_index=index)["customers"] for index in range(len(campaign_ids))]
    assert summary["reached"] == sum(customers) > 0


def test_it_asks_for_the_day_of_the_run_and_not_of_the_data(
    optimove_sandbox: OptimoveSandbox, run_dag: Callable[[str], Any]
) -> None:
    # A run that is repeated later finds newer data than it waits for.
    today = datetime.datetime.now(datetime.UTC).date()
    optimove_sandbox.last_data_update = today + datetime.timedelta(days=3)
    run = run_dag(SOURCE)
    assert run.xcom("wait_for_data") == (today + datetime.timedelta(days=3)).isoformat()
    (call,) = optimove_sandbox.calls_of("GetExecutedCampaignDetails")
    assert call.query["Date"] == today.isoformat()


def test_a_day_without_campaigns_ends_well(optimove_sandbox: OptimoveSandbox, run_dag: Callable[[str], Any]) -> None:
    optimove_sandbox.fail("GetExecutedCampaignDetails", body="[]")
    run = run_dag(SOURCE)
    assert run.state == "success"
    assert run.xcom("summary") == {"campaigns": 0, "reached": 0, "promotions": 0}
    assert optimove_sandbox.calls_of("AddPromotions") == []
