"""The example DAG for executed campaigns, copied unchanged into the dags folder of a real Airflow."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS, AIRFLOW_V_3_2_PLUS

from airflow_provider_optimove.sandbox import OptimoveSandbox
from airflow_provider_optimove.sandbox.world import Campaign
from tests.example_dags.conftest import EXAMPLES, ON_EVENTS

pytest_plugins = ["airflow_provider_optimove.sandbox.pytest_plugin"]

FILE, DAG = "optimove_on_campaign.py", "optimove_on_campaign"
SECRET = "fake-secret-of-tests"


def ab_test_of_today(sandbox: OptimoveSandbox) -> Campaign:
    """A campaign on several channels, with two templates on each."""
    return next(c for c in sandbox.world.campaigns(sandbox.today) if c.kind.channels == (15, 506))


def executed(campaign: int, channel: int | str) -> tuple[int, dict[str, Any]]:
    payload = {"EventTypeID": 13, "TimeStamp": "2026-11-20 08:00:00", "CampaignID": campaign, "ChannelID": channel}
    return 13, payload


def customers_by_template(sandbox: OptimoveSandbox, campaign: Campaign, channel: int) -> dict[int, int]:
    found: Counter[int] = Counter()
    for group, members in sandbox.world.recipients(campaign):
        if group:
            found[campaign.template(channel, group)] += len(members)
    return dict(found)


def metrics(campaign: int, channel: int, figures: dict[int, int]) -> list[dict[str, int]]:
    return [
        {
            "CampaignID": campaign,
            "ChannelID": channel,
            "TemplateID": template,
            "MetricID": metric,
            "MetricValue": value,
            "RecipientGroupID": 1,
        }
        for template, value in sorted(figures.items())
        for metric in (0, 1)
    ]


@ON_EVENTS
def test_an_executed_campaign_is_handed_over_and_reported(
    optimove_sandbox: OptimoveSandbox, run_example: Callable[..., Any], airflow_home: Path
) -> None:
    campaign = ab_test_of_today(optimove_sandbox)
    run = run_example(FILE, DAG, event=executed(campaign.number, 506))
    assert set(run.states.values()) == {"success"}
    figures = customers_by_template(optimove_sandbox, campaign, 506)
    assert len(figures) == 2
    assert optimove_sandbox.metrics == metrics(campaign.number, 506, figures)
    (asked,) = optimove_sandbox.calls_of("GetCustomerExecutionDetailsByCampaign")
    assert (asked.query["CampaignID"], asked.query["ChannelID"]) == (str(campaign.number), "506")
    path = Path(run.xcom("customers"))
    assert path == airflow_home / "optimove" / f"campaign-{campaign.number}" / run.run_id / "customers.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert {row["ChannelID"] for row in rows} == {506}
    assert len({row["CustomerID"] for row in rows}) == len(rows) == sum(figures.values())


@ON_EVENTS
def test_the_event_may_come_in_another_form(
    optimove_sandbox: OptimoveSandbox, run_example: Callable[..., Any], tmp_path: Path
) -> None:
    campaign = ab_test_of_today(optimove_sandbox)
    payload = {"eventTypeId": "13", "campaignId": str(campaign.number), "channelId": "15", "Extra": None}
    run = run_example(FILE, DAG, event=(13, payload), conf={"folder": str(tmp_path)})
    assert run.xcom("executed_campaign") == {"campaign_id": campaign.number, "channel_id": 15}
    assert optimove_sandbox.metrics == metrics(
        campaign.number, 15, customers_by_template(optimove_sandbox, campaign, 15)
    )


def test_it_runs_by_hand_and_a_customer_is_handed_over_once(
    optimove_sandbox: OptimoveSandbox, run_example: Callable[..., Any], tmp_path: Path
) -> None:
    row = {"ChannelID": 504, "ActionID": 4, "ScheduleTime": "2026-11-20 09:00:00", "PromoCode": None}
    rows = [{"CustomerID": f"C{number % 2_500}", "TemplateID": 7 + number // 2_500, **row} for number in range(2_600)]
    optimove_sandbox.fail("GetCustomerExecutionDetailsByCampaign", body=json.dumps(rows))
    run = run_example(FILE, DAG, conf={"campaign_id": 6577, "channel_id": 504, "folder": str(tmp_path)})
    assert set(run.states.values()) == {"success"}
    assert optimove_sandbox.metrics == metrics(6577, 504, {7: 2_500})
    assert Path(run.xcom("customers")).parent == tmp_path / "campaign-6577" / run.run_id


def test_a_retry_hands_everything_over_again_and_reports_once(
    optimove_sandbox: OptimoveSandbox,
    run_example: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    fields = {**json.loads(optimove_sandbox.connection), "extra": {"retry_limit": 0}}
    monkeypatch.setenv("AIRFLOW_CONN_OPTIMOVE_DEFAULT", json.dumps(fields))
    campaign = ab_test_of_today(optimove_sandbox)
    optimove_sandbox.fail("GetCustomerExecutionDetailsByCampaign", truncate=True)
    conf = {"campaign_id": campaign.number, "channel_id": 15, "folder": str(tmp_path)}
    run = run_example(FILE, DAG, conf=conf)
    assert set(run.states.values()) == {"success"}
    assert {ti.task_id: ti.try_number for ti in run.task_instances}["customers"] == 2
    figures = customers_by_template(optimove_sandbox, campaign, 15)
    assert optimove_sandbox.metrics == metrics(campaign.number, 15, figures)


def test_runs_of_a_campaign_do_not_share_files(
    optimove_sandbox: OptimoveSandbox, run_example: Callable[..., Any], tmp_path: Path
) -> None:
    conf = {"campaign_id": ab_test_of_today(optimove_sandbox).number, "folder": str(tmp_path)}
    paths = {run_example(FILE, DAG, conf={**conf, "channel_id": channel}).xcom("customers") for channel in (15, 506)}
    assert len(paths) == 2
    channels = [{json.loads(line)["ChannelID"] for line in Path(path).read_text().splitlines()} for path in paths]
    assert sorted(map(sorted, channels)) == [[15], [506]]


def test_without_event_and_campaign_it_fails(
    optimove_sandbox: OptimoveSandbox,
    run_example: Callable[..., Any],
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    run = run_example(FILE, DAG, conf={"campaign_id": 6577})
    assert run.states["executed_campaign"] == "failed"
    assert optimove_sandbox.calls == []
    assert "no event of Optimove's started this run" in caplog.text + capfd.readouterr().out


@ON_EVENTS
def test_an_event_without_channel_ends_it_with_a_sentence(
    optimove_sandbox: OptimoveSandbox,
    run_example: Callable[..., Any],
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    # As the event listener itself takes none.
    run = run_example(FILE, DAG, event=("optimove_event/optimove_default/campaign_executed", {"CampaignID": 6577}))
    assert run.states["executed_campaign"] == "failed"
    assert {instance.try_number for instance in run.task_instances if instance.state == "failed"} == {1}
    assert optimove_sandbox.calls == []
    assert "names no campaign, or no channel" in caplog.text + capfd.readouterr().out


def test_schedules() -> None:
    names: dict[str, Any] = {}
    exec((EXAMPLES / FILE).read_text(), names)
    timetable = type(names[DAG]().timetable).__name__
    expected = "PartitionedAssetTimetable" if AIRFLOW_V_3_2_PLUS else "AssetTriggeredTimetable"
    assert timetable == (expected if AIRFLOW_V_3_0_PLUS else "NullTimetable")
    assert type(names["optimove_listen"]().timetable).__name__ == "OnceTimetable"


@ON_EVENTS
def test_listening_is_registered_once(
    optimove_sandbox: OptimoveSandbox, run_example: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    fields = {**json.loads(optimove_sandbox.connection), "extra": {"listener_secret": SECRET}}
    monkeypatch.setenv("AIRFLOW_CONN_OPTIMOVE_DEFAULT", json.dumps(fields))
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://airflow.example.com")
    for changed in (True, False):
        run = run_example(FILE, "optimove_listen")
        assert set(run.states.values()) == {"success"}
        assert [run.xcom("register", index)["changed"] for index in (0, 1)] == [changed, changed]
    # The two tasks run in any order.
    assert sorted(optimove_sandbox.listeners) == [
        (event_type, None, f"https://airflow.example.com/optimove/events/optimove_default/{event_type}?token={SECRET}")
        for event_type in (5, 13)
    ]


@pytest.mark.skipif(AIRFLOW_V_3_0_PLUS, reason="about Airflow 2")
def test_airflow_2_has_nothing_to_register(run_example: Callable[..., Any]) -> None:
    with pytest.raises(KeyError, match="optimove_listen"):
        run_example(FILE, "optimove_listen")
