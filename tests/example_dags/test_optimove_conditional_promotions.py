"""The example DAG for campaigns on hold, copied unchanged into the dags folder of a real Airflow."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_optimove.sandbox import OptimoveSandbox
from airflow_provider_optimove.sandbox.world import Campaign
from tests.example_dags.conftest import ON_EVENTS

pytest_plugins = ["airflow_provider_optimove.sandbox.pytest_plugin"]

FILE, DAG = "optimove_conditional_promotions.py", "optimove_conditional_promotions"
SOURCE = (Path(__file__).parents[2] / "example_dags" / FILE).read_text()
# A run begins within them.
SECONDS_LEFT = 8


def campaign_of_today(sandbox: OptimoveSandbox) -> Campaign:
    """A campaign with promotions whose day has come."""
    return next(c for c in sandbox.world.campaigns(sandbox.today) if c.executed and c.kind.promotion)


def conf(campaign: int, folder: Path, *, seconds_left: int = 3600) -> dict[str, Any]:
    clearance = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds_left)
    return {
        "campaign_id": campaign,
        "clearance_required_by": clearance.strftime("%Y-%m-%d %H:%M:%S"),
        "folder": str(folder),
    }


def on_hold(campaign: int, *, seconds_left: int = 3600, **fields: Any) -> tuple[int, dict[str, Any]]:
    """The event, with a clearance time in so many seconds."""
    clearance = conf(campaign, Path(), seconds_left=seconds_left)["clearance_required_by"]
    payload = {"EventTypeID": 5, "CampaignID": campaign, "CampaignDuration": 3, "ClearanceRequiredBy": clearance}
    return 5, {**payload, "TimeStamp": "2026-11-20 08:00:00", **fields}


def promotions_of(sandbox: OptimoveSandbox, campaign: Campaign) -> dict[int, dict[str, bool]]:
    groups = sandbox.world.recipients(campaign)
    customers = [f"C{customer:07}" for group, members in groups if group for customer in members]
    return {campaign.number: dict.fromkeys(customers, True)}


@ON_EVENTS
def test_an_event_starts_it(
    optimove_sandbox: OptimoveSandbox, run_example: Callable[..., Any], airflow_home: Path
) -> None:
    campaign = campaign_of_today(optimove_sandbox)
    run = run_example(FILE, DAG, event=on_hold(campaign.number))
    assert set(run.states.values()) == {"success"}
    assert optimove_sandbox.promotion_statuses == promotions_of(optimove_sandbox, campaign)
    folder = airflow_home / "optimove" / f"campaign-{campaign.number}" / run.run_id
    assert run.xcom("customers_on_hold") == {"campaign_id": campaign.number, "path": f"{folder}/customers.jsonl"}


@ON_EVENTS
def test_an_event_that_comes_too_late(optimove_sandbox: OptimoveSandbox, run_example: Callable[..., Any]) -> None:
    run = run_example(FILE, DAG, event=on_hold(6577, seconds_left=-1))
    assert run.states["customers_on_hold"] == "failed"
    assert {instance.try_number for instance in run.task_instances if instance.state == "failed"} == {1}
    assert optimove_sandbox.calls == []


@ON_EVENTS
def test_an_event_without_clearance_time_ends_it_with_a_sentence(
    optimove_sandbox: OptimoveSandbox,
    run_example: Callable[..., Any],
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    # As the event listener itself takes none.
    run = run_example(FILE, DAG, event=("optimove_event/optimove_default/campaign_on_hold", {"CampaignID": 6577}))
    assert run.states["customers_on_hold"] == "failed"
    assert {instance.try_number for instance in run.task_instances if instance.state == "failed"} == {1}
    assert optimove_sandbox.calls == []
    assert "names no campaign, or no clearance time" in caplog.text + capfd.readouterr().out


def test_without_event_and_clearance_time_it_fails(
    optimove_sandbox: OptimoveSandbox,
    run_example: Callable[..., Any],
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    run = run_example(FILE, DAG, conf={"campaign_id": 6577})
    assert run.states["customers_on_hold"] == "failed"
    assert optimove_sandbox.calls == []
    assert "no event of Optimove's started this run" in caplog.text + capfd.readouterr().out


def test_everybody_with_a_promotion_is_told(
    optimove_sandbox: OptimoveSandbox, run_dag: Callable[..., Any], tmp_path: Path
) -> None:
    campaign = campaign_of_today(optimove_sandbox)
    run = run_dag(SOURCE, conf(campaign.number, tmp_path))
    assert set(run.states.values()) == {"success"}
    told = promotions_of(optimove_sandbox, campaign)
    assert optimove_sandbox.promotion_statuses == told
    assert len(told[campaign.number]) == run.xcom("update_promotion_status")["rows"] > 100


def test_a_customer_of_several_channels_is_told_once(
    optimove_sandbox: OptimoveSandbox, run_dag: Callable[..., Any], tmp_path: Path
) -> None:
    rows = [
        {"CustomerID": "C1", "PromoCode": "A"},
        {"CustomerID": "C2", "PromoCode": None},
        {"CustomerID": "C1", "PromoCode": "A"},
    ]
    optimove_sandbox.fail("GetProcessedCampaignCustomers", body=json.dumps(rows))
    run = run_dag(SOURCE, conf(6577, tmp_path))
    assert set(run.states.values()) == {"success"}
    assert [call.rows for call in optimove_sandbox.calls_of("UpdateCustomerPromotionStatus")] == [2]
    assert optimove_sandbox.promotion_statuses == {6577: {"C1": True, "C2": False}}


def test_what_optimove_refuses_does_not_hold_up_the_others(
    optimove_sandbox: OptimoveSandbox, run_dag: Callable[..., Any], tmp_path: Path
) -> None:
    rows = [{"CustomerID": f"C{number}", "PromoCode": "A"} for number in range(20)]
    optimove_sandbox.fail("GetProcessedCampaignCustomers", body=json.dumps(rows))
    optimove_sandbox.refuse_rows("UpdateCustomerPromotionStatus", "C7", "Unknown customer")
    run = run_dag(SOURCE, conf(6577, tmp_path))
    assert run.states["update_promotion_status"] == "failed"
    others = {f"C{number}": True for number in range(20) if number != 7}
    assert optimove_sandbox.promotion_statuses == {6577: others}
    rejected = Path(f"{run.xcom('grant_promotions')}.rejected.jsonl")
    assert json.loads(rejected.read_text()) == {
        "row": 8,
        "explanation": "Unknown customer",
        "data": {"CustomerID": "C7", "Status": True},
    }


def test_after_the_clearance_time_nothing_is_tried(
    optimove_sandbox: OptimoveSandbox, run_dag: Callable[..., Any], tmp_path: Path
) -> None:
    run = run_dag(SOURCE, conf(6577, tmp_path, seconds_left=-1))
    assert run.states["customers_on_hold"] == "failed"
    assert {instance.try_number for instance in run.task_instances if instance.state == "failed"} == {1}
    assert optimove_sandbox.calls == []


def test_a_retry_ends_at_the_clearance_time(
    optimove_sandbox: OptimoveSandbox, run_dag: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = {**json.loads(optimove_sandbox.connection), "extra": {"retry_limit": 0}}
    monkeypatch.setenv("AIRFLOW_CONN_OPTIMOVE_DEFAULT", json.dumps(connection))
    optimove_sandbox.fail("GetProcessedCampaignCustomers", status=503, delay=SECONDS_LEFT)
    run = run_dag(SOURCE, conf(6577, tmp_path, seconds_left=SECONDS_LEFT))
    (first,) = (instance for instance in run.task_instances if instance.task_id == "customers_on_hold")
    assert (first.state, first.try_number, first.max_tries) == ("failed", 2, 5)
    assert len(optimove_sandbox.calls) == 1
