"""Deferred sensors in a real triggerer of Airflow 2.11, beside a scheduler that runs one task at a time."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS

from airflow_provider_optimove.sandbox import OptimoveSandbox
from tests.durability.conftest import until

pytestmark = pytest.mark.skipif(AIRFLOW_V_3_0_PLUS, reason="test_waiting.py has them on Airflow 3")

DAG = """
import datetime

from airflow import DAG

from airflow_provider_optimove.sensors.optimove import OptimoveCampaignSensor, OptimoveLastDataUpdateSensor

IN_TRIGGERER = {"deferrable": True, "poke_interval": 1, "retries": 1}
with DAG("waiting", schedule="@once", start_date=datetime.datetime(2024, 1, 1)):
    OptimoveLastDataUpdateSensor(task_id="first", target_date="2024-11-20", **IN_TRIGGERER)
    OptimoveLastDataUpdateSensor(task_id="second", target_date="2024-11-20", **IN_TRIGGERER)
    OptimoveCampaignSensor(task_id="campaign", campaign_id=17001, **IN_TRIGGERER)
    OptimoveLastDataUpdateSensor(task_id="late", target_date="2099-01-01", timeout=1, **IN_TRIGGERER)
"""


@pytest.fixture
def sandbox() -> Iterator[OptimoveSandbox]:
    with OptimoveSandbox(last_data_update="2024-11-19") as running:
        yield running


@pytest.fixture
def query(tmp_path: Path, sandbox: OptimoveSandbox) -> Iterator[Callable[[str], list[tuple[Any, ...]]]]:
    """Asks the database of an Airflow that has just been started; what it logs is shown where the test fails."""
    (tmp_path / "dags").mkdir()
    (tmp_path / "dags" / "waiting.py").write_text(DAG)
    database = tmp_path / "airflow.db"
    environment = os.environ | {
        "AIRFLOW_CONN_OPTIMOVE_DEFAULT": sandbox.connection,
        "AIRFLOW_HOME": str(tmp_path),
        # The executor calls `airflow` by name.
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(tmp_path / "dags"),
        "AIRFLOW__CORE__EXECUTOR": "SequentialExecutor",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{database}",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(tmp_path / "logs"),
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.3",
        "AIRFLOW__SCHEDULER__TRIGGER_TIMEOUT_CHECK_INTERVAL": "1",
    }
    airflow = [sys.executable, "-m", "airflow"]
    subprocess.run([*airflow, "db", "migrate"], env=environment, check=True, capture_output=True)
    running = [
        subprocess.Popen([*airflow, part, "--skip-serve-logs"], env=environment, start_new_session=True)
        for part in ("scheduler", "triggerer")
    ]

    def ask(question: str) -> list[tuple[Any, ...]]:
        assert all(process.poll() is None for process in running)
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=60)) as metadata:
            return metadata.execute(question).fetchall()

    try:
        yield ask
    finally:
        for process in running:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def test_deferred_sensors_share_their_calls_and_end_as_they_should(
    sandbox: OptimoveSandbox, query: Callable[[str], list[tuple[Any, ...]]]
) -> None:
    def states() -> dict[str, tuple[str, int]]:
        found = query("select task_id, state, try_number from task_instance")
        return {task: (state, tries) for task, state, tries in found}

    until("two deferred sensors", lambda: states().get("first", "") == states().get("second") == ("deferred", 1))
    calls = len(sandbox.calls)
    until("three calls", lambda: len(sandbox.calls) >= calls + 3)
    sandbox.last_data_update = "2024-11-20"
    until("the end", lambda: {state for state, _ in states().values()} == {"success", "failed"})
    assert states() == {
        "first": ("success", 1),
        "second": ("success", 1),
        "campaign": ("success", 1),
        "late": ("failed", 1),
    }
    times = [call.time for call in sandbox.calls_of("GetLastDataUpdate")]
    assert min(after - before for before, after in pairwise(times)) >= 1
