"""Example DAGs of all systems with everything logged, and then a search of everything that was written."""

from __future__ import annotations

import base64
import json
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest

from airflow_provider_optimove.sandbox import (
    NetmeraSandbox,
    OptimoveSandbox,
    SessionMSandbox,
    StickyStreetSandbox,
)

EXAMPLES = Path(__file__).parents[1] / "example_dags"
# Masked by nothing but the provider's own care: too odd for any pattern.
KEY = "fake/key+for=tests-6f1d"
PASSWORD = "fake password & tests-93c2"

# Airflow's supervisor logs at DEBUG which value it is asked to mask.
AIRFLOWS_OWN = re.compile(rb"msg=MaskSecret\(")


class Written:
    """A run of an example in an Airflow of its own, and all that it wrote.

    :param folder: where; empty at first.
    :param connections: as JSON, by the id.
    """

    def __init__(self, folder: Path, connections: dict[str, str]) -> None:
        self._folder = folder
        self._home = folder / "airflow"
        self._environment = {
            **os.environ,
            "AIRFLOW_HOME": str(self._home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(self._home / "dags"),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{self._home / 'airflow.db'}",
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "DEBUG",
            "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(self._home / "logs"),
            **{f"AIRFLOW_CONN_{conn_id.upper()}": connection for conn_id, connection in connections.items()},
        }

    def run(self, example: str, dag_id: str | None = None, conf: dict[str, object] | None = None) -> str:
        """Run a DAG.

        :param example: the name of its file, without the ending.
        :returns: what the commands wrote.
        """
        (self._home / "dags").mkdir(parents=True)
        (self._home / "dags" / f"{example}.py").write_text((EXAMPLES / f"{example}.py").read_text())
        self._airflow("db", "migrate")
        self._airflow("dags", "test", dag_id or example, *(["--conf", json.dumps(conf)] if conf else []))
        return (self._folder / "output.txt").read_text()

    def _airflow(self, *command: str) -> None:
        output = self._folder / "output.txt"
        with output.open("ab") as file:
            result = subprocess.run(
                [sys.executable, "-m", "airflow", *command],
                env=self._environment,
                stdout=file,
                stderr=subprocess.STDOUT,
                check=False,
            )
        assert result.returncode == 0, output.read_text()[-3000:]

    def search(self, secrets: Collection[str]) -> None:
        """Look for secrets in all that was written, however they are escaped."""
        forms = {form for word in secrets for form in (word, quote(word), quote(word, safe=""), quote_plus(word))}
        searched = 0
        for path in [p for p in self._folder.rglob("*") if p.is_file() and "airflow-provider-optimove-" not in str(p)]:
            content = b"".join(line for line in path.read_bytes().splitlines(True) if not AIRFLOWS_OWN.search(line))
            searched += 1
            for form in forms:
                assert form.encode() not in content, f"{path.name} holds a secret"
        assert searched > 2
        # XCom and rendered fields are JSON in the database, where a secret could stand escaped.
        with sqlite3.connect(self._home / "airflow.db") as database:
            for table, columns in (("xcom", "value"), ("rendered_task_instance_fields", "rendered_fields")):
                rows = database.execute(f"SELECT {columns} FROM {table}").fetchall()
                assert rows
                for (value,) in rows:
                    assert not any(form in str(value) or json.dumps(form)[1:-1] in str(value) for form in forms)


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
    connection = sandbox.connection if mode == "key" else sandbox.login_connection
    written = Written(tmp_path, {"optimove_default": connection})
    output = written.run("optimove_daily")

    # The run did what it should, and the search below looks where the words would be.
    assert len(sandbox.promotions) > 0
    assert "trying AddPromotions again" in output
    assert "cannot serve ***" in output
    assert "DEBUG" in output.upper()
    if mode == "login":
        assert sandbox.logins == 2

    assert len(tokens) == sandbox.logins
    written.search([secret, *tokens])


def in_header(user: str, password: str) -> str:
    """The credentials as the Authorization header has them."""
    return base64.b64encode(f"{user}:{password}".encode()).decode()


def test_netmeras_keys_are_in_nothing_that_a_run_writes(tmp_path: Path, sandbox: OptimoveSandbox) -> None:
    app_key, api_key = "fake+app=key-51bb", "fake/rest+key-77d0"
    counts = tmp_path / "counts.csv"
    counts.write_text("TemplateID,metric,value\n45901,delivered,3\n")
    with NetmeraSandbox(app_key=app_key, api_key=api_key) as netmera:
        # 429 is the one answer after which a push is tried again.
        netmera.fail("push_event", status=429, body=f"slower, {app_key} ({quote(app_key)}) and {api_key}")
        written = Written(tmp_path, {"optimove_default": sandbox.connection, "netmera_default": netmera.connection})
        output = written.run(
            "optimove_to_netmera", conf={"campaign_id": 6577, "channel_id": 459, "counts": str(counts)}
        )
        assert len(netmera.pushes) == 1
    assert "trying push_event again" in output
    assert "slower, ***" in output
    written.search([app_key, api_key, KEY])


def test_sessionms_credentials_are_in_nothing_that_a_run_writes(tmp_path: Path, sandbox: OptimoveSandbox) -> None:
    api_key, api_secret = "fake/key+of=tests-3a9e", "fake secret & tests-b81c"
    both = in_header(api_key, api_secret)
    with SessionMSandbox(api_key=api_key, api_secret=api_secret, customers=20) as sessionm:
        told = f"cannot serve {api_key} ({quote(api_key, safe='')}), {api_secret}, Basic {both}"
        sessionm.fail("active_campaigns", status=503, body=told)
        written = Written(tmp_path, {"optimove_default": sandbox.connection, "sessionm_default": sessionm.connection})
        output = written.run("sessionm_to_optimove", "sessionm_promotions", {"folder": str(tmp_path / "files")})
    assert sandbox.promotions
    assert "trying active_campaigns again" in output
    assert "cannot serve ***" in output
    written.search([api_key, api_secret, both, KEY])


@pytest.mark.parametrize("key_in_header", [False, True])
def test_sticky_streets_password_is_in_nothing_that_a_run_writes(
    tmp_path: Path, sandbox: OptimoveSandbox, key_in_header: bool
) -> None:
    secret = "fake&password <tests> 40ce" if not key_in_header else "fake/key+tests-40ce"
    with StickyStreetSandbox(user_password=secret, access_key=secret, customers=20) as sticky_street:
        sticky_street.fail("customers_all", status=503, body=f"cannot serve {secret} ({quote_plus(secret)})")
        connection = json.loads(sticky_street.connection)
        connection["extra"] = {**connection["extra"], "key_in_header": key_in_header}
        written = Written(
            tmp_path,
            {"optimove_default": sandbox.connection, "sticky_street_default": json.dumps(connection)},
        )
        output = written.run("sticky_street_changed_customers", conf={"folder": str(tmp_path / "files")})
    assert sandbox.preferences
    assert "trying customers_all again" in output
    assert "cannot serve ***" in output
    written.search([secret, KEY])
