"""The example DAGs from SessionM to Optimove, copied unchanged into the dags folder of a real Airflow."""

from __future__ import annotations

import datetime
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from airflow_provider_optimove.hooks.optimove import OptimoveHook
from airflow_provider_optimove.sandbox import OptimoveSandbox, SessionMSandbox
from tests.conftest import DagRunResult

pytest_plugins = ["airflow_provider_optimove.sandbox.pytest_plugin"]

FILE = "sessionm_to_optimove.py"
PAGE = (Path(__file__).parents[2] / "docs" / "sessionm.md").read_text()
# SessionM's campaign 1 takes opt-ins.
SESSIONM_CAMPAIGN = 1
FACTS = ("CampaignID", "ChannelID", "TemplateID", "InteractionDate", "EventID")
Run = Callable[..., DagRunResult]


# Promotions


def promotions_of(sessionm: SessionMSandbox) -> dict[str, str]:
    return {
        campaign.permalink: campaign.name
        for campaign in sessionm.campaigns.values()
        if campaign.status == "live" and campaign.starts_at <= sessionm.now < campaign.ends_at
    }


def test_active_campaigns_are_promotions(
    optimove_sandbox: OptimoveSandbox, sessionm_sandbox: SessionMSandbox, run_example: Run, tmp_path: Path
) -> None:
    run = run_example(FILE, "sessionm_promotions", conf={"folder": str(tmp_path)})
    assert set(run.states.values()) == {"success"}
    told = promotions_of(sessionm_sandbox)
    assert optimove_sandbox.promotions == told
    assert run.xcom("add_promotions")["rows"] == len(told) == 30

    # The next day one has a new name, and one is over.
    sessionm_sandbox.campaigns[1].name = "Winter, 50% off"
    sessionm_sandbox.campaigns[2].status = "completed"
    run = run_example(FILE, "sessionm_promotions", conf={"folder": str(tmp_path)})
    assert run.xcom("active_campaigns")["rows"] == 29
    assert optimove_sandbox.promotions == {**told, **promotions_of(sessionm_sandbox)}
    assert "Winter, 50% off" in optimove_sandbox.promotions.values()


def test_a_promotion_that_optimove_refuses(
    optimove_sandbox: OptimoveSandbox, sessionm_sandbox: SessionMSandbox, run_example: Run, tmp_path: Path
) -> None:
    refused = sessionm_sandbox.campaigns[3].permalink
    optimove_sandbox.refuse_rows("AddPromotions", refused, "Reserved code")
    run = run_example(FILE, "sessionm_promotions", conf={"folder": str(tmp_path)})
    assert run.states["add_promotions"] == "failed"
    told = promotions_of(sessionm_sandbox)
    del told[refused]
    assert optimove_sandbox.promotions == told
    (line,) = (tmp_path / "promotions.csv.rejected.jsonl").read_text().splitlines()
    assert json.loads(line)["data"] == {"PromoCode": refused, "PromotionName": "Campaign 3"}


# Interactions


class Campaign:
    """A campaign of Optimove's that is about one of SessionM's."""

    def __init__(self, optimove: OptimoveSandbox, sessionm: SessionMSandbox) -> None:
        self.optimove = optimove
        self.sessionm = sessionm
        self.id = next(c for c in optimove.world.campaigns(optimove.today) if c.executed).number
        self.permalink = sessionm.campaigns[SESSIONM_CAMPAIGN].permalink
        self.rows = list(OptimoveHook().rows("GetCustomerExecutionDetailsByCampaign", CampaignID=self.id))
        optimove.calls.clear()
        self.customers = list(dict.fromkeys(row["CustomerID"] for row in self.rows))
        self.users = {customer.external_id: customer.user_id for customer in sessionm.customers}
        self.let(self.customers, "qualified")

    def let(self, customers: Iterable[str], state: str) -> None:
        """Put customers into a state."""
        for customer in customers:
            self.sessionm.states[SESSIONM_CAMPAIGN, self.users[customer]] = state

    def conf(self, folder: Path, **params: Any) -> dict[str, Any]:
        return {"folder": str(folder), "campaigns": {str(self.id): self.permalink}, **params}

    def interactions(self, **events: Iterable[str]) -> list[tuple[Any, ...]]:
        """What Optimove should have: of each row of these customers, an event."""
        today = datetime.datetime.now(ZoneInfo(OptimoveHook().timezone or "UTC")).date()
        numbers = {"opened": 2, "clicked": 3, "unsubscribed": 4}
        return sorted(
            (row["CustomerID"], self.id, row["ChannelID"], row["TemplateID"], today, numbers[event])
            for event, customers in events.items()
            for row in self.rows
            if row["CustomerID"] in set(customers)
        )

    def arrived(self) -> list[tuple[Any, ...]]:
        """What Optimove has."""
        return sorted(
            (
                customer,
                *(told[name] for name in ("CampaignID", "ChannelID", "TemplateID", "InteractionDate", "EventID")),
            )
            for told in self.optimove.interactions
            for customer in told["CustomerIDs"]
        )


@pytest.fixture
def campaign(optimove_sandbox: OptimoveSandbox, sessionm_sandbox: SessionMSandbox) -> Campaign:
    return Campaign(optimove_sandbox, sessionm_sandbox)


def test_states_are_interactions_each_reported_once(campaign: Campaign, run_example: Run, tmp_path: Path) -> None:
    assert len(campaign.customers) >= 12
    opted_in, completed = campaign.customers[:5], campaign.customers[5:9]
    campaign.let(opted_in, "opted_in")
    campaign.let(completed, "completed")
    campaign.let(campaign.customers[9:11], "in_progress")

    run = run_example(FILE, "sessionm_interactions", conf=campaign.conf(tmp_path))
    assert set(run.states.values()) == {"success"}
    assert campaign.arrived() == campaign.interactions(opened=opted_in, clicked=completed)
    path = tmp_path / "interactions" / run.run_id / "interactions.jsonl"
    assert run.xcom("new_interactions") == str(path)
    assert run.xcom("report_interactions")["rows"] == len(path.read_text().splitlines()) == len(campaign.arrived())
    progress = [call for call in campaign.sessionm.calls if call.function == "progress"]
    assert len(progress) == len(campaign.customers)

    # The next day some have gone on.
    campaign.let(opted_in[:2], "completed")
    campaign.let(campaign.customers[11:], "opted_in")
    run_example(FILE, "sessionm_interactions", conf=campaign.conf(tmp_path))
    expected = campaign.interactions(opened=[*opted_in, *campaign.customers[11:]], clicked=[*completed, *opted_in[:2]])
    assert campaign.arrived() == expected
    quiet = run_example(FILE, "sessionm_interactions", conf=campaign.conf(tmp_path))
    assert quiet.xcom("report_interactions")["rows"] == 0
    assert campaign.arrived() == expected


def test_events_and_channel_are_chosen(campaign: Campaign, run_example: Run, tmp_path: Path) -> None:
    campaign.let(campaign.customers[:4], "opted_out")
    campaign.let(campaign.customers[4:6], "opted_in")
    channel = campaign.rows[0]["ChannelID"]
    conf = campaign.conf(tmp_path, events={"opted_out": "unsubscribed", "opted_in": 3}, channel_id=channel)
    run = run_example(FILE, "sessionm_interactions", conf=conf)
    assert set(run.states.values()) == {"success"}
    expected = campaign.interactions(unsubscribed=campaign.customers[:4], clicked=campaign.customers[4:6])
    assert campaign.arrived() == [interaction for interaction in expected if interaction[2] == channel]
    (details,) = campaign.optimove.calls_of("GetCustomerExecutionDetailsByCampaign")
    assert details.query["ChannelID"] == str(channel)


def test_a_customer_of_several_channels_is_asked_for_once(campaign: Campaign, run_example: Run, tmp_path: Path) -> None:
    row = campaign.rows[0]
    campaign.rows = [row, {**row, "ChannelID": row["ChannelID"] + 1}]
    campaign.let([row["CustomerID"]], "completed")
    campaign.optimove.fail("GetCustomerExecutionDetailsByCampaign", body=json.dumps(campaign.rows))
    run_example(FILE, "sessionm_interactions", conf=campaign.conf(tmp_path))
    assert campaign.arrived() == campaign.interactions(clicked=[row["CustomerID"]])
    assert len(campaign.arrived()) == 2
    assert len(campaign.sessionm.calls) == 1


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Pacific/Pago_Pago"])
def test_days_are_the_accounts(
    campaign: Campaign, run_example: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zone: str
) -> None:
    # Between them it is never the same day.
    connection = {**json.loads(campaign.optimove.connection), "extra": {"timezone": zone}}
    monkeypatch.setenv("AIRFLOW_CONN_OPTIMOVE_DEFAULT", json.dumps(connection))
    campaign.let(campaign.customers[:2], "opted_in")
    run_example(FILE, "sessionm_interactions", conf=campaign.conf(tmp_path))
    assert campaign.arrived() == campaign.interactions(opened=campaign.customers[:2])


def test_customers_whom_sessionm_does_not_know(campaign: Campaign, run_example: Run, tmp_path: Path) -> None:
    campaign.let(campaign.customers, "opted_in")
    campaign.sessionm.refuse("progress", "User_not_found", customer=campaign.customers[0])
    run_example(FILE, "sessionm_interactions", conf=campaign.conf(tmp_path))
    assert campaign.arrived() == campaign.interactions(opened=campaign.customers[1:])


def test_a_wrong_permalink_reports_nothing(
    campaign: Campaign,
    run_example: Run,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    conf = campaign.conf(tmp_path, campaigns={str(campaign.id): "summer"})
    run = run_example(FILE, "sessionm_interactions", conf=conf)
    assert run.states["new_interactions"] == "failed"
    assert campaign.arrived() == []
    assert "no_campaign_found for permalink summer (HTTP 404)" in caplog.text + capfd.readouterr().out


def test_a_campaign_without_customers(
    campaign: Campaign,
    run_example: Run,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    run = run_example(FILE, "sessionm_interactions", conf=campaign.conf(tmp_path, channel_id=999))
    assert set(run.states.values()) == {"success"}
    warning = f"Campaign {campaign.id} has no customers in Optimove on channel 999: nobody was asked for in SessionM"
    assert warning in caplog.text + capfd.readouterr().out
    assert campaign.sessionm.calls == []


def test_the_command_of_the_page_reports_something(
    optimove_sandbox: OptimoveSandbox, sessionm_sandbox: SessionMSandbox, run_example: Run, tmp_path: Path
) -> None:
    (told,) = re.findall(r"airflow dags trigger sessionm_interactions --conf '(.*)'", PAGE)
    run = run_example(FILE, "sessionm_interactions", conf={"folder": str(tmp_path), **json.loads(told)})
    assert set(run.states.values()) == {"success"}
    assert {interaction["EventID"] for interaction in optimove_sandbox.interactions} == {3}
    assert {interaction["CampaignID"] for interaction in optimove_sandbox.interactions} == {6577}
    assert sessionm_sandbox.campaigns[7].permalink in told


def test_the_page_tells_how_to_find_other_campaigns(
    optimove_sandbox: OptimoveSandbox, sessionm_sandbox: SessionMSandbox, run_example: Run, tmp_path: Path
) -> None:
    (command,) = re.findall(r"(python - <<'END'\n.*?\nEND)\n", PAGE, re.DOTALL)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(["/bin/sh", "-c", command], env={**os.environ, "PATH": path}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    permalinks = re.findall(r"^SessionM: (\S+) Campaign \d+$", done.stdout, re.MULTILINE)
    assert set(permalinks) == set(promotions_of(sessionm_sandbox))
    campaigns = re.findall(r"^Optimove: (\d+)$", done.stdout, re.MULTILINE)
    assert len(campaigns) > 1
    # The second of SessionM's without opt-ins, which customers complete all the same.
    conf = {"folder": str(tmp_path), "campaigns": {campaigns[0]: sessionm_sandbox.campaigns[16].permalink}}
    assert sessionm_sandbox.campaigns[16].permalink in permalinks
    run_example(FILE, "sessionm_interactions", conf=conf)
    assert {interaction["CampaignID"] for interaction in optimove_sandbox.interactions} == {int(campaigns[0])}


def test_without_campaigns_nothing_is_asked(campaign: Campaign, run_example: Run, tmp_path: Path) -> None:
    run = run_example(FILE, "sessionm_interactions", conf={"folder": str(tmp_path)})
    assert set(run.states.values()) == {"success"}
    assert [*campaign.sessionm.calls, *campaign.optimove.calls] == []


def test_a_retry_finds_what_the_try_before_found(
    campaign: Campaign, run_example: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_provider_optimove.clients.http.time.sleep", lambda seconds: None)
    campaign.let(campaign.customers[:9], "opted_in")
    campaign.sessionm.fail("progress", status=503, after=9, times=5)
    run = run_example(FILE, "sessionm_interactions", conf=campaign.conf(tmp_path))
    assert {instance.task_id: instance.try_number for instance in run.task_instances}["new_interactions"] == 2
    assert campaign.arrived() == campaign.interactions(opened=campaign.customers[:9])


def test_what_half_a_run_found_is_found_by_the_next(campaign: Campaign, run_example: Run, tmp_path: Path) -> None:
    campaign.let(campaign.customers[:9], "opted_in")
    campaign.sessionm.refuse("progress", "no_campaign_found", customer=campaign.customers[9])
    run = run_example(FILE, "sessionm_interactions", conf=campaign.conf(tmp_path))
    assert run.states["new_interactions"] == "failed"
    assert len(campaign.sessionm.calls) == 10
    assert campaign.arrived() == []
    campaign.sessionm.forgive()
    run_example(FILE, "sessionm_interactions", conf=campaign.conf(tmp_path))
    assert campaign.arrived() == campaign.interactions(opened=campaign.customers[:9])


def test_what_a_failed_run_found_is_its_own(campaign: Campaign, run_example: Run, tmp_path: Path) -> None:
    campaign.let(campaign.customers[:3], "opted_in")
    campaign.optimove.fail("UpdateCampaignInteractions", drop="after")
    run = run_example(FILE, "sessionm_interactions", conf=campaign.conf(tmp_path))
    assert run.states["report_interactions"] == "failed"
    # Nobody knows whether they arrived; whoever clears the task decides.
    campaign.let(campaign.customers[3:5], "completed")
    run_example(FILE, "sessionm_interactions", conf=campaign.conf(tmp_path))
    assert campaign.arrived() == campaign.interactions(opened=campaign.customers[:3], clicked=campaign.customers[3:5])
