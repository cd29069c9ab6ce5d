"""The extracting example DAG, copied unchanged into the dags folder of a real Airflow."""

from __future__ import annotations

import csv
import datetime
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from airflow_provider_optimove.hooks.optimove import OptimoveHook
from airflow_provider_optimove.sandbox import OptimoveSandbox

pytest_plugins = ["airflow_provider_optimove.sandbox.pytest_plugin"]

SOURCE = (Path(__file__).parents[2] / "example_dags" / "optimove_extract_customers.py").read_text()
EXECUTION = "GetCustomerExecutionDetailsByCampaign"
SENDS = "GetCustomerSendDetailsByCampaign"


def lines_of(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path) as lines:
        return [json.loads(line) for line in lines]


def test_it_runs_end_to_end(
    optimove_sandbox: OptimoveSandbox, run_dag: Callable[..., Any], airflow_home: Path, tmp_path: Path
) -> None:
    run = run_dag(SOURCE, {"folder": str(tmp_path)})
    assert run.state == "success"
    assert set(run.states.values()) == {"success"}
    yesterday = (datetime.datetime.now(datetime.UTC).date() - datetime.timedelta(days=1)).isoformat()
    day = tmp_path / f"date={yesterday}"
    hook = OptimoveHook()
    campaigns = sorted({int(c["CampaignID"]) for c in hook.client.get_executed_campaign_details(date=yesterday)})
    assert campaigns
    expected = {campaign: hook.call(EXECUTION, CampaignID=campaign) for campaign in campaigns}
    total = sum(map(len, expected.values()))

    for campaign, rows in expected.items():
        assert lines_of(day / f"campaign={campaign}" / "customers.jsonl.gz") == rows
        assert lines_of(day / f"campaign={campaign}" / "sends.jsonl.gz") == hook.call(SENDS, CampaignID=campaign)
    with (day / "customers.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert list(table[0]) == [
        *("CampaignID", "CustomerID", "ChannelID", "ActionID", "TemplateID", "ScheduledAt", "PromoCode"),
    ]
    assert [(row["CampaignID"], row["CustomerID"]) for row in table] == [
        (str(campaign), row["CustomerID"]) for campaign, rows in expected.items() for row in rows
    ]
    checked = run.xcom("check_counts")
    assert checked["campaigns"] == len(campaigns)
    assert checked["rows"] == total > 0
    assert not list(tmp_path.rglob("*.partial"))


def test_another_day(optimove_sandbox: OptimoveSandbox, run_dag: Callable[..., Any], tmp_path: Path) -> None:
    day = (datetime.datetime.now(datetime.UTC).date() - datetime.timedelta(days=3)).isoformat()
    assert run_dag(SOURCE, {"folder": str(tmp_path), "date": day}).state == "success"
    (call,) = optimove_sandbox.calls_of("GetExecutedCampaignDetails")
    assert call.query["Date"] == day
    assert [path.name for path in tmp_path.iterdir()] == [f"date={day}"]


def test_a_file_that_lost_rows_is_noticed(
    optimove_sandbox: OptimoveSandbox, run_dag: Callable[..., Any], tmp_path: Path
) -> None:
    losing = SOURCE.replace("found = sum(1 for _ in lines)", "found = sum(1 for _ in lines) - 1")
    assert losing != SOURCE
    run = run_dag(losing, {"folder": str(tmp_path)})
    assert run.states["check_counts"] == "failed"


def test_a_day_without_campaigns_ends_well(
    optimove_sandbox: OptimoveSandbox, run_dag: Callable[..., Any], tmp_path: Path
) -> None:
    optimove_sandbox.fail("GetExecutedCampaignDetails", body="[]")
    run = run_dag(SOURCE, {"folder": str(tmp_path)})
    assert run.state == "success"
    assert run.states["sends_by_campaign"] == "skipped"
    assert run.xcom("check_counts") == {"campaigns": 0, "campaigns_without_customers": 0, "rows": 0}
    (file,) = tmp_path.rglob("*.csv")
    assert file.read_text() == "CampaignID,CustomerID,ChannelID,ActionID,TemplateID,ScheduledAt,PromoCode\n"
