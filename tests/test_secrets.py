"""The daily DAG with everything logged, and then a search of everything that was written."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from airflow_provider_optimove.sandbox import OptimoveSandbox

EXAMPLE = Path(__file__).parents[1] / "example_dags" / "optimove_daily.py"
# Masked by nothing but the provider's own care: too odd for any pattern.
KEY = "fake/key+for=tests-6f1d"
PASSWORD = "fake password & tests-93c2"

# Airflow's supervisor logs at DEBUG which value it is asked to mask.
AIRFLOWS_OWN = re.compile(rb"msg=MaskSecret\(")


@pytest.fixture(params=["key", "login"])
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def sandbox() -> Iterator[OptimoveSandbox]:
    with OptimoveSandbox(api_key=KEY, password=PASSWORD, customers=200) as running:
        yield running


def test_no_secret_in_anything_that_a_run_writes(
    tmp_path: Path, sandbox: OptimoveSandbox, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "airflow"
    (home / "dags").mkdir(parents=True)
    (home / "dags" / EXAMPLE.name).write_text(EXAMPLE.read_text())
    secret = KEY if mode == "key" else PASSWORD
    # The server itself repeats the credentials in an error, once; the call is then repeated.
    for function in ("GetExecutedCampaignDetails", "AddPromotions"):
        sandbox.fail(function, status=503, body=f"cannot serve {secret} ({quote(secret)})")
    tokens: list[str] = []
    give_token = sandbox.sessions.login

    def noted_token(accepted: bool) -> str:
        tokens.append(give_token(accepted))
        return tokens[-1]

    monkeypatch.setattr(sandbox.sessions, "login", noted_token)
    if mode == "login":
        sandbox.fail("GetCustomerExecutionDetailsByCampaign", expired_token=True)
    fields = json.loads(sandbox.connection if mode == "key" else sandbox.login_connection)
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "DEBUG",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
        "AIRFLOW_CONN_OPTIMOVE_DEFAULT": json.dumps(fields),
    }

    def airflow(*command: str) -> None:
        with (tmp_path / "output.txt").open("ab") as output:
            result = subprocess.run(
                [sys.executable, "-m", "airflow", *command],
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
            )
        assert result.returncode == 0, (tmp_path / "output.txt").read_text()[-3000:]

    airflow("db", "migrate")
    airflow("dags", "test", "optimove_daily")

    output = (tmp_path / "output.txt").read_text()
    # The run did what it should, and the search below looks where the words would be.
    assert len(sandbox.promotions) > 0
    assert "trying AddPromotions again" in output
    assert "cannot serve ***" in output
    assert "DEBUG" in output.upper()
    if mode == "login":
        assert sandbox.logins == 2

    assert len(tokens) == sandbox.logins
    forms = {form for word in (secret, *tokens) for form in (word, quote(word), quote(word, safe=""))}
    searched = 0
    for path in [p for p in tmp_path.rglob("*") if p.is_file() and "airflow-provider-optimove-" not in str(p)]:
        content = b"".join(line for line in path.read_bytes().splitlines(True) if not AIRFLOWS_OWN.search(line))
        searched += 1
        for form in forms:
            assert form.encode() not in content, f"{path.name} holds a secret"
    assert searched > 2
    # XCom and rendered fields are JSON in the database, where a secret could stand escaped.
    with sqlite3.connect(home / "airflow.db") as database:
        for table, columns in (("xcom", "value"), ("rendered_task_instance_fields", "rendered_fields")):
            rows = database.execute(f"SELECT {columns} FROM {table}").fetchall()
            assert rows
            for (value,) in rows:
                assert not any(form in str(value) or json.dumps(form)[1:-1] in str(value) for form in forms)
