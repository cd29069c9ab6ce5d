"""What runs of tests write, to be searched for what must not be in it."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from urllib.parse import quote

import pytest


def said_in(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> str:
    """All that was logged."""
    # Airflow 3 writes the log of a task to its output until it is told otherwise.
    return caplog.text + "".join(capfd.readouterr())


def forms_of(*secrets: str) -> set[str]:
    """Secrets, also as they stand in addresses."""
    return {form for secret in secrets for form in (secret, quote(secret), quote(secret, safe=""))}


def rows_about(airflow_db: Path, dag_id: str) -> str:
    """What Airflow's database keeps of the runs of a DAG."""
    with sqlite3.connect(airflow_db) as database:
        rows = "".join(
            str(row)
            for table in ("xcom", "rendered_task_instance_fields", "task_instance", "log")
            for row in database.execute(f"SELECT * FROM {table} WHERE dag_id = ?", (dag_id,))
        )
    assert dag_id in rows
    return rows
