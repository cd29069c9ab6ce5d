"""The example DAG that reports interactions, copied unchanged into the dags folder of a real Airflow."""

from __future__ import annotations

import datetime
import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

from airflow_provider_optimove.sandbox import OptimoveSandbox

pytest_plugins = ["airflow_provider_optimove.sandbox.pytest_plugin"]

SOURCE = (Path(__file__).parents[2] / "example_dags" / "optimove_report_interactions.py").read_text()
ASSET = "optimove_interactions"
HEADER = "CustomerID,CampaignID,ChannelID,InteractionDate,TemplateID,EventID\n"
EVENTS = """\
C0000001,6577,504,2026-11-20,50402,opened
C0000002,6577,504,2026-11-20,50402,clicked
C0000003,6577,504,2026-11-20,50402,2
C0000004,6577,506,2026-11-20,50601,opened
C0000001,6577,504,2026-11-20,50402,3
C0000005,6577,504,2026-11-20,50402,opened
"""


def test_it_reports_the_file_of_the_day(
    optimove_sandbox: OptimoveSandbox, run_dag: Callable[..., Any], airflow_home: Path, asset_events: Any
) -> None:
    file = airflow_home / "optimove" / f"interactions-{datetime.datetime.now(datetime.UTC).date()}.csv"
    file.parent.mkdir(exist_ok=True)
    file.write_text(HEADER + EVENTS)
    asset_events.expect(ASSET)
    run = run_dag(SOURCE)
    assert set(run.states.values()) == {"success"}
    assert run.xcom("events_file") == str(file)
    alike = {"CampaignID": 6577, "InteractionDate": datetime.date(2026, 11, 20), "RecipientGroupID": 1}
    mail = {**alike, "ChannelID": 504, "TemplateID": 50402}
    push = {**alike, "ChannelID": 506, "TemplateID": 50601}
    assert optimove_sandbox.interactions == [
        {**mail, "EventID": 2, "CustomerIDs": ["C0000001", "C0000003", "C0000005"]},
        {**mail, "EventID": 3, "CustomerIDs": ["C0000002", "C0000001"]},
        {**push, "EventID": 2, "CustomerIDs": ["C0000004"]},
    ]
    assert run.xcom("rejected_interactions") == {}
    report = run.xcom("report_interactions")
    assert (report["rows"], report["calls"], report["rejected"]) == (6, 3, 0)
    assert asset_events.of(ASSET) == [report]


def test_what_optimove_refuses_ends_in_a_file(
    optimove_sandbox: OptimoveSandbox, run_dag: Callable[..., Any], tmp_path: Path, asset_events: Any
) -> None:
    asset_events.expect(ASSET)
    optimove_sandbox.refuse_rows("UpdateCampaignInteractions", "C0000003", "Unknown customer")
    file = tmp_path / "events.csv"
    file.write_text(HEADER + EVENTS)
    run = run_dag(SOURCE, {"events": str(file)})
    assert set(run.states.values()) == {"success"}
    told = optimove_sandbox.interactions
    assert sorted((call["EventID"], customer) for call in told for customer in call["CustomerIDs"]) == [
        (2, "C0000001"),
        (2, "C0000004"),
        (2, "C0000005"),
        (3, "C0000001"),
        (3, "C0000002"),
    ]
    assert run.xcom("rejected_interactions") == {"Unknown customer": 1}
    report = run.xcom("report_interactions")
    assert (report["rows"], report["rejected"]) == (5, 1)
    assert asset_events.of(ASSET) == [report]
    rejected = tmp_path / "events.csv.rejected.jsonl"
    assert json.loads(rejected.read_text()) == {
        "row": 3,
        "explanation": "Unknown customer",
        "data": {
            "CustomerID": "C0000003",
            "CampaignID": 6577,
            "ChannelID": 504,
            "InteractionDate": "2026-11-20",
            "TemplateID": 50402,
            "EventID": 2,
        },
    }
    assert stat.S_IMODE(rejected.stat().st_mode) == 0o600


def test_a_row_that_is_not_valid_stops_the_file_before_anything_is_sent(
    optimove_sandbox: OptimoveSandbox, run_dag: Callable[..., Any], tmp_path: Path
) -> None:
    file = tmp_path / "events.csv"
    file.write_text(HEADER + EVENTS.replace("C0000005,6577", "C0000005,none"))
    run = run_dag(SOURCE, {"events": str(file)})
    assert run.states["report_interactions"] == "failed"
    assert optimove_sandbox.interactions == []
    assert not Path(f"{file}.rejected.jsonl").exists()
