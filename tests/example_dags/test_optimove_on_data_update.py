"""The example DAG of new data, copied unchanged into the dags folder of a real Airflow."""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS

from airflow_provider_optimove.hooks.optimove import OptimoveHook
from airflow_provider_optimove.sandbox import OptimoveSandbox

pytest_plugins = ["airflow_provider_optimove.sandbox.pytest_plugin"]

SOURCE = (Path(__file__).parents[2] / "example_dags" / "optimove_on_data_update.py").read_text()
CHANGERS = "GetValueSegmentChangers"


@pytest.fixture
def started_by_events(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Lets what follows make a run that the watcher's events, with these dates, have started."""
    if not AIRFLOW_V_3_0_PLUS:
        pytest.skip("asset watchers came with Airflow 3")
    from airflow.models.asset import AssetEvent, AssetModel

    dagrun = importlib.import_module("airflow.models.dagrun")
    get_or_create = dagrun.get_or_create_dagrun

    def started_by(*days: date) -> None:
        def get_or_create_dagrun(**arguments: Any) -> Any:
            dag_run, session = get_or_create(**arguments), arguments["session"]
            asset = session.query(AssetModel).filter_by(name="optimove_data").one()
            for day in days:
                extra = {"from_trigger": True, "payload": {"date": day.isoformat()}}
                event = AssetEvent(asset_id=asset.id, extra=extra, timestamp=datetime.now(UTC))
                dag_run.consumed_asset_events.append(event)
            session.commit()
            return dag_run

        monkeypatch.setattr(dagrun, "get_or_create_dagrun", get_or_create_dagrun)

    return started_by


def test_it_counts_who_moved_between_segments(optimove_sandbox: OptimoveSandbox, run_dag: Callable[..., Any]) -> None:
    run = run_dag(SOURCE)
    assert set(run.states.values()) == {"success"}
    yesterday = (datetime.now(UTC).date() - timedelta(days=1)).isoformat()
    assert run.xcom("data_date") == run.xcom("wait_for_data") == yesterday
    (call,) = optimove_sandbox.calls_of(CHANGERS)
    assert (call.query["StartDate"], call.query["EndDate"]) == (yesterday, yesterday)

    hook = OptimoveHook()
    names = {segment["ValueSegmentID"]: segment["ValueSegmentName"] for segment in hook.call("GetValueSegments")}
    names[-1] = "new"
    rows = hook.call(CHANGERS, StartDate=yesterday, EndDate=yesterday)
    expected = Counter(f"{names[r['InitialValueSegmentID']]} -> {names[r['FinalValueSegmentID']]}" for r in rows)
    assert run.xcom("moves_between_segments") == dict(expected)
    assert sum(expected.values()) > 10
    assert any(move.startswith("new -> ") for move in expected)


def test_the_day_is_the_newest_one_of_the_events(
    optimove_sandbox: OptimoveSandbox, run_dag: Callable[..., Any], started_by_events: Callable[..., None]
) -> None:
    newest = optimove_sandbox.last_data_update
    before = newest - timedelta(days=1)
    started_by_events(before)
    assert run_dag(SOURCE).xcom("data_date") == before.isoformat()
    started_by_events(before, newest)
    assert run_dag(SOURCE).xcom("data_date") == newest.isoformat()


def test_another_day(optimove_sandbox: OptimoveSandbox, run_dag: Callable[..., Any]) -> None:
    day = (optimove_sandbox.last_data_update - timedelta(days=1)).isoformat()
    assert run_dag(SOURCE, {"date": day}).state == "success"
    (call,) = optimove_sandbox.calls_of(CHANGERS)
    assert call.query["StartDate"] == day


def test_ids_as_text_and_a_segment_without_a_name(
    optimove_sandbox: OptimoveSandbox, run_dag: Callable[..., Any]
) -> None:
    row = '[{"CustomerID": "C1", "InitialValueSegmentID": "2", "FinalValueSegmentID": "77"}]'
    optimove_sandbox.fail(CHANGERS, body=row)
    assert run_dag(SOURCE).xcom("moves_between_segments") == {"Gold -> 77": 1}


def test_it_is_scheduled_on_the_data(airflow_home: Path) -> None:
    names: dict[str, Any] = {}
    exec(compile(SOURCE, "optimove_on_data_update.py", "exec"), names)
    if not AIRFLOW_V_3_0_PLUS:
        assert names["SCHEDULE"] == "0 7 * * *"
        return
    (watcher,) = names["SCHEDULE"].watchers
    _, arguments = watcher.trigger.serialize()
    assert arguments == {"optimove_conn_id": "optimove_default", "poll_interval": 60.0}
