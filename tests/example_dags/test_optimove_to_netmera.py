"""The example DAG from Optimove to Netmera and back, copied unchanged into the dags folder of a real Airflow."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS, AIRFLOW_V_3_2_PLUS

from airflow_provider_optimove.sandbox import NetmeraSandbox, OptimoveSandbox
from tests.example_dags.conftest import EXAMPLES, ON_EVENTS

pytest_plugins = ["airflow_provider_optimove.sandbox.pytest_plugin"]

FILE, DAG = "optimove_to_netmera.py", "optimove_to_netmera"
MOMENT = "2026-11-20 08:00:00"
CSV = """\
TemplateID,metric,value
45901,delivered,9000
45902,opened,7
45901,opened,1203
45901,delivered,120
"""
FIGURES = [(45901, 1, 9120), (45901, 2, 1203), (45902, 2, 7)]


def executed(channel: int = 459, **fields: Any) -> tuple[int, dict[str, Any]]:
    return 13, {"EventTypeID": 13, "TimeStamp": MOMENT, "CampaignID": 6577, "ChannelID": channel, **fields}


def pushed(channel: int = 459) -> dict[str, Any]:
    return {"eventTypeId": 13, "timeStamp": MOMENT, "campaignId": 6577, "channelId": channel}


def metrics(channel: int = 459) -> list[dict[str, int]]:
    names = ("TemplateID", "MetricID", "MetricValue")
    of_all = {"CampaignID": 6577, "ChannelID": channel, "RecipientGroupID": 1}
    return [{**of_all, **dict(zip(names, figures, strict=True))} for figures in FIGURES]


def as_json_lines(text: str) -> str:
    header, *rows = (line.split(",") for line in text.splitlines())
    return "\n".join(json.dumps(dict(zip(header, row, strict=True))) for row in rows) + "\n\n"


@ON_EVENTS
def test_an_executed_campaign_is_pushed_and_its_counts_reported(
    optimove_sandbox: OptimoveSandbox,
    netmera_sandbox: NetmeraSandbox,
    run_example: Callable[..., Any],
    airflow_home: Path,
) -> None:
    file = airflow_home / "optimove" / "counts-6577-459.csv"
    file.parent.mkdir(exist_ok=True)
    file.write_text(CSV)
    run = run_example(FILE, DAG, event=executed())
    file.unlink()
    assert set(run.states.values()) == {"success"}
    assert netmera_sandbox.pushes == [pushed()]
    assert optimove_sandbox.metrics == metrics()
    told = {"event_type": 13, "campaign_id": 6577, "channel_id": 459, "timestamp": MOMENT}
    assert run.xcom("push") == {"pushed": [told]}
    assert run.xcom("counts_file") == str(file)


@ON_EVENTS
def test_the_other_channel_the_other_format_and_another_form_of_event(
    optimove_sandbox: OptimoveSandbox, netmera_sandbox: NetmeraSandbox, run_example: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "counts-6577-481.jsonl").write_text(as_json_lines(CSV))
    payload = {"eventTypeId": "13", "timeStamp": MOMENT, "campaignId": "6577", "channelId": "481", "Extra": None}
    run = run_example(FILE, DAG, event=(13, payload), conf={"folder": str(tmp_path)})
    assert set(run.states.values()) == {"success"}
    assert netmera_sandbox.pushes == [pushed(481)]
    assert optimove_sandbox.metrics == metrics(481)


@ON_EVENTS
def test_campaigns_on_other_channels_are_skipped(
    optimove_sandbox: OptimoveSandbox, netmera_sandbox: NetmeraSandbox, run_example: Callable[..., Any]
) -> None:
    run = run_example(FILE, DAG, event=executed(504))
    assert set(run.states.values()) == {"skipped"}
    assert (netmera_sandbox.calls, optimove_sandbox.calls) == ([], [])


def test_it_runs_by_hand(
    optimove_sandbox: OptimoveSandbox, netmera_sandbox: NetmeraSandbox, run_example: Callable[..., Any], tmp_path: Path
) -> None:
    file = tmp_path / "mine.csv"
    file.write_bytes(b"\xef\xbb\xbf" + CSV.encode())
    netmera_sandbox.channels = (7001,)
    conf = {"campaign_id": 6577, "channel_id": 7001, "channels": [7001], "counts": str(file)}
    run = run_example(FILE, DAG, conf=conf)
    assert set(run.states.values()) == {"success"}
    (push,) = netmera_sandbox.pushes
    assert {**push, "timeStamp": MOMENT} == pushed(7001)
    assert optimove_sandbox.metrics == metrics(7001)


@pytest.mark.parametrize(
    ("fault", "tries", "pushes"),
    [
        ({"drop": "after"}, 1, 1),
        ({"status": 503, "takes_effect": True}, 1, 1),
        ({"status": 401}, 1, 0),
    ],
)
def test_a_lost_answer_does_not_push_twice(
    optimove_sandbox: OptimoveSandbox,
    netmera_sandbox: NetmeraSandbox,
    run_example: Callable[..., Any],
    tmp_path: Path,
    fault: dict[str, Any],
    tries: int,
    pushes: int,
) -> None:
    (tmp_path / "counts-6577-459.csv").write_text(CSV)
    netmera_sandbox.fail("push_event", **fault)
    run = run_example(FILE, DAG, conf={"campaign_id": 6577, "channel_id": 459, "folder": str(tmp_path)})
    assert run.states == {
        "executed_campaign": "success",
        "push": "failed",
        "counts_file": "upstream_failed",
        "metrics": "upstream_failed",
        "report_metrics": "upstream_failed",
    }
    assert {ti.task_id: ti.try_number for ti in run.task_instances}["push"] == tries
    assert (len(netmera_sandbox.calls), len(netmera_sandbox.pushes)) == (1, pushes)
    assert optimove_sandbox.metrics == []


@pytest.mark.parametrize("row", ["45901,bounced,7", "x,opened,7", "45901,opened,", "45901"])
def test_a_file_that_is_not_what_it_should_be_reports_nothing(
    optimove_sandbox: OptimoveSandbox,
    netmera_sandbox: NetmeraSandbox,
    run_example: Callable[..., Any],
    tmp_path: Path,
    row: str,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "counts.csv"
    file.write_text(f"{CSV}{row}\n")
    run = run_example(FILE, DAG, conf={"campaign_id": 6577, "channel_id": 459, "counts": str(file)})
    assert run.states["metrics"] == "failed"
    assert {ti.task_id: ti.try_number for ti in run.task_instances}["metrics"] == 1
    assert optimove_sandbox.metrics == []
    said = caplog.text + capfd.readouterr().out
    assert "row 5: expected TemplateID, metric (delivered or opened) and value" in said


@ON_EVENTS
def test_an_event_without_channel_ends_it_with_a_sentence(
    netmera_sandbox: NetmeraSandbox,
    run_example: Callable[..., Any],
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    # As the event listener itself takes none.
    run = run_example(FILE, DAG, event=("optimove_event/optimove_default/campaign_executed", {"CampaignID": 6577}))
    assert run.states["executed_campaign"] == "failed"
    assert netmera_sandbox.calls == []
    assert "names no campaign, or no channel" in caplog.text + capfd.readouterr().out


def test_without_event_and_campaign_it_fails(netmera_sandbox: NetmeraSandbox, run_example: Callable[..., Any]) -> None:
    run = run_example(FILE, DAG, conf={"campaign_id": 6577})
    assert run.states["executed_campaign"] == "failed"
    assert netmera_sandbox.calls == []


def test_schedule() -> None:
    names: dict[str, Any] = {}
    exec((EXAMPLES / FILE).read_text(), names)
    timetable = type(names[DAG]().timetable).__name__
    expected = "PartitionedAssetTimetable" if AIRFLOW_V_3_2_PLUS else "AssetTriggeredTimetable"
    assert timetable == (expected if AIRFLOW_V_3_0_PLUS else "NullTimetable")
