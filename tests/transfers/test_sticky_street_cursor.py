"""The id that Sticky Street's reports are read from: what is taken for one, whose it is, and runs that come again."""

from __future__ import annotations

import datetime
import json
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, Variable

from airflow_provider_optimove.clients.sticky_street.cursor import RUNS_REMEMBERED
from airflow_provider_optimove.exceptions import OptimoveInputError
from airflow_provider_optimove.sandbox import StickyStreetSandbox
from airflow_provider_optimove.transfers.sticky_street_to_object_storage import (
    StickyStreetCustomersToObjectStorageOperator,
)

pytest_plugins = ["airflow_provider_optimove.sandbox.pytest_plugin"]


@pytest.fixture
def sandbox(sticky_street_sandbox: StickyStreetSandbox) -> StickyStreetSandbox:
    sticky_street_sandbox.customers = 30
    return sticky_street_sandbox


def keep_in(monkeypatch: pytest.MonkeyPatch, kept: dict[str, str]) -> dict[str, str]:
    """Variables that are kept here instead of in Airflow."""
    monkeypatch.setattr(Variable, "get", kept.get)
    monkeypatch.setattr(Variable, "set", kept.__setitem__)
    return kept


class Hours:
    """The runs of each hour, which can run again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, hour: int, **arguments: Any) -> Any:
        """What the run of an hour returned."""
        due = datetime.datetime(2026, 11, 20, tzinfo=datetime.UTC) + datetime.timedelta(hours=hour)
        operator = StickyStreetCustomersToObjectStorageOperator(
            task_id="customers", path=str(self.file(hour)), cursor_field="id", cursor_variable="mine", **arguments
        )
        dag_run: Any = SimpleNamespace(run_id=f"run of {hour}", run_after=due, logical_date=None)
        return operator.execute({"dag_run": dag_run})

    def file(self, hour: int) -> Path:
        """What the run of an hour writes."""
        return self._folder / f"{hour}.jsonl"

    def rows(self, hour: int) -> int:
        """How many customers are in that."""
        return len(self.file(hour).read_text().splitlines())


@pytest.fixture
def hours(tmp_path: Path) -> Hours:
    return Hours(tmp_path)


@pytest.fixture
def task_log(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """What a task says; each Airflow has its own way for that."""
    monkeypatch.setattr(StickyStreetCustomersToObjectStorageOperator, "log", logging.getLogger(__name__))
    caplog.set_level(logging.INFO, __name__)
    return caplog


def asked_from(sandbox: StickyStreetSandbox) -> list[str]:
    return [call.fields["last"] for call in sandbox.calls]


# Runs that come again


def test_an_older_run_that_is_cleared_begins_where_it_did(
    sandbox: StickyStreetSandbox, hours: Hours, monkeypatch: pytest.MonkeyPatch, task_log: pytest.LogCaptureFixture
) -> None:
    kept = keep_in(monkeypatch, {"mine": "20"})
    hours(1)
    last = str(sandbox.change(3))
    hours(2)
    assert hours(1)["last"] == last
    hours(1)
    assert asked_from(sandbox) == ["20", "30", "20", "20"]
    # Its file has what it had, and what came later.
    assert (hours.rows(1), hours.rows(2)) == (11, 1)
    assert hours(2)["rows"] == 1
    assert json.loads(kept["mine"])["last"] == last
    assert "since 20, where this run began before (mine)" in task_log.text
    # A new run goes on from the id.
    assert hours(3)["rows"] == 0
    assert asked_from(sandbox)[4:] == ["30", last]


def test_a_run_that_is_forgotten_is_refused(
    sandbox: StickyStreetSandbox, hours: Hours, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = keep_in(monkeypatch, {"mine": "20"})
    for hour in range(RUNS_REMEMBERED + 2):
        sandbox.change(0)
        hours(hour)
    assert len(json.loads(kept["mine"])["runs"]) == RUNS_REMEMBERED
    before, file = dict(kept), hours.file(1).read_text()
    for hour in (0, 1):
        with pytest.raises(OptimoveInputError, match="mine does not tell any more where this run began; give it last="):
            hours(hour)
    assert (kept, hours.file(1).read_text()) == (before, file)
    assert hours(1, last="31")["rows"] == 1
    # The oldest one that is remembered but for that, and one that nobody has seen.
    assert hours(3)["rows"] == 1
    assert hours(99)["rows"] == 0


def test_a_run_without_customers_needs_not_be_remembered(
    sandbox: StickyStreetSandbox, hours: Hours, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = keep_in(monkeypatch, {"mine": "30"})
    assert hours(1)["rows"] == 0
    assert kept == {"mine": "30"}
    sandbox.change(0)
    assert hours(1)["rows"] == 1


def test_without_a_run_nothing_is_remembered_of_it(
    sandbox: StickyStreetSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = keep_in(monkeypatch, {"mine": "20"})
    operator = StickyStreetCustomersToObjectStorageOperator(
        task_id="customers", path=str(tmp_path / "x.jsonl"), cursor_field="id", cursor_variable="mine"
    )
    assert [operator.execute({})["rows"] for _ in range(2)] == [10, 0]
    assert json.loads(kept["mine"])["runs"] == {}


# Whose id it is


def test_another_account_is_noticed(
    sandbox: StickyStreetSandbox, hours: Hours, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = keep_in(monkeypatch, {"mine": "20"})
    hours(1)
    before = dict(kept)
    sandbox.account_id = "other-account"
    monkeypatch.setenv("AIRFLOW_CONN_STICKY_STREET_DEFAULT", sandbox.connection)
    other = f"127.0.0.1:{sandbox.port}/other-account"
    given: list[dict[str, Any]] = [{}, {"last": "3"}]
    for arguments in given:
        with pytest.raises(OptimoveInputError, match="cursor_variable: mine keeps an id of") as caught:
            hours(2, **arguments)
        assert f"sandbox-account, and the connection leads to {other}; name another Variable, or" in str(caught.value)
    assert kept == before
    # What the error says.
    kept["mine"] = "0"
    assert hours(2)["rows"] == 30
    assert json.loads(kept["mine"])["account"] == other


# What is an id


@pytest.mark.parametrize(
    "text",
    [
        *("", "None", "-1", "1.5", '"28"', "[28]", "true", "\uff12\uff18", "1" * 31, "1" * 5000, "start", "{}"),
        *(f'{{"last": {last}}}' for last in ("null", "true", '"x"', "2.5", "-1", '""')),
        *('{"last": "28", "runs": {"mine": "0"}}', '{"last": "28", "runs": []}', '{"last": "28", "forgotten": 1}'),
    ],
    ids=lambda text: text[:30],
)
def test_a_variable_that_keeps_no_id(
    sandbox: StickyStreetSandbox, hours: Hours, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    kept = keep_in(monkeypatch, {"mine": text})
    with pytest.raises(OptimoveInputError, match="cursor_variable: what mine keeps cannot be read: expected") as caught:
        hours(1)
    assert isinstance(caught.value, AirflowFailException)
    assert (sandbox.calls, kept) == ([], {"mine": text})


def report_with(beside: Any = None, customer: Any = None) -> str:
    """A report that has the id beside the customers, or in the last of two."""
    of_response = {} if beside is None else {"id": beside}
    of_customer = {} if customer is None else {"id": customer}
    customers = [{"a": "x", "id": "5"}, {"a": "y", **of_customer}]
    return json.dumps({"status": "success", **of_response, "customer": customers})


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"beside": "abc", "customer": "7"}, "'id' is text of 3 characters; an id is one of 1 to 30 digits"),
        ({"customer": "She likes cheese!"}, "'id' is text of 17 characters"),
        ({"customer": "30.0"}, "'id' is text of 4 characters"),
        ({"customer": "-1"}, "'id' is text of 2 characters"),
        ({"customer": "\uff13"}, "'id' is text of 1 characters"),
        ({"customer": "1" * 31}, "'id' is text of 31 characters"),
        ({"customer": "1" * 5000}, "'id' is text of 5000 characters"),
        ({"customer": {"id": "7"}}, "'id' is no text"),
        ({"beside": "", "customer": ""}, "no id in 'id'"),
    ],
)
def test_what_is_no_id_is_not_kept(
    sandbox: StickyStreetSandbox, hours: Hours, monkeypatch: pytest.MonkeyPatch, fields: Any, words: str
) -> None:
    kept = keep_in(monkeypatch, {"mine": "6"})
    sandbox.fail("customers_all", body=report_with(**fields))
    with pytest.raises(OptimoveInputError) as caught:
        hours(1)
    assert f"cursor_field: {words}" in str(caught.value)
    assert "cheese" not in str(caught.value)
    assert not hours.file(1).exists()
    assert kept == {"mine": "6"}


@pytest.mark.parametrize(
    ("fields", "last"),
    [
        ({"beside": "9", "customer": "8"}, "9"),
        ({"beside": "", "customer": "8"}, "8"),
        ({"beside": 9}, "9"),
        ({"customer": " 7 "}, "7"),
        ({"customer": "1" * 30}, "1" * 30),
    ],
)
def test_where_the_id_stands(
    sandbox: StickyStreetSandbox, hours: Hours, monkeypatch: pytest.MonkeyPatch, fields: Any, last: str
) -> None:
    kept = keep_in(monkeypatch, {"mine": "6"})
    sandbox.fail("customers_all", body=report_with(**fields))
    assert hours(1)["last"] == last
    assert json.loads(kept["mine"])["last"] == last


# What the log says


def test_the_log_says_where_a_run_begins(
    sandbox: StickyStreetSandbox, hours: Hours, monkeypatch: pytest.MonkeyPatch, task_log: pytest.LogCaptureFixture
) -> None:
    kept = keep_in(monkeypatch, {})
    hours(1)
    hours(2)
    hours(1)
    kept["mine"] = "0"
    hours(3)
    hours(4, last=28)
    told = [(record.levelname, record.getMessage()) for record in task_log.records if "Reading" in record.getMessage()]
    assert told == [
        ("WARNING", "Reading all customers: the Variable mine is not there"),
        ("INFO", "Reading what has changed since 30, which the Variable mine keeps"),
        ("INFO", "Reading what has changed since 0, where this run began before (mine)"),
        ("WARNING", "Reading all customers: the Variable mine says 0"),
        ("INFO", "Reading what has changed since 28, as last says; mine keeps the id"),
    ]
