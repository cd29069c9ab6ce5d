"""What the page of Sticky Street says is what the code does."""

from __future__ import annotations

import inspect
import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_optimove.clients.sticky_street import cursor, report
from airflow_provider_optimove.clients.sticky_street.client import FIELDS, ReportArguments
from airflow_provider_optimove.exceptions import StickyStreetError
from airflow_provider_optimove.hooks.connection_form import field_behaviour
from airflow_provider_optimove.hooks.sticky_street import DEFAULT_HOST, StickyStreetHook
from airflow_provider_optimove.sandbox import StickyStreetSandbox
from airflow_provider_optimove.transfers.sticky_street_to_object_storage import (
    StickyStreetCustomersToObjectStorageOperator,
)
from airflow_provider_optimove.transfers.to_object_storage import ToObjectStorageOperator
from tests.test_documentation import dag_of, python_of

pytest_plugins = ["airflow_provider_optimove.sandbox.pytest_plugin"]

PAGE = (Path(__file__).parents[1] / "docs" / "sticky_street.md").read_text()
TASKS, PLAIN = python_of("docs/sticky_street.md")
BEGIN, END = "<!-- what comes back: written by tests/test_docs_sticky_street.py -->\n", "<!-- end -->"

# What is asked beside the credentials: by the document's names, and by the client's.
ASKED: list[dict[str, Any]] = [
    {},
    {"output": "XML"},
    {"output": "JSON", "condensed": True},
    {"output": "JSON", "callback": "someFunctionName"},
    {"last": 0},
    {"last": 12},
    {"selected_campaigns": ["123456789012"]},
    {"selected_campaigns": ["123456789012", "021987654321"], "date_start": "2010-01-01", "date_end": "2010-01-05"},
]
REFUSED: list[dict[str, str]] = [
    {"user_id": "nobody"},
    {"user_password": "fake"},
    {"account_id": "nothing"},
    {"key_in_header": "fake"},
]


def test_tasks_run(
    sticky_street_sandbox: StickyStreetSandbox, run_dag: Callable[[str], Any], asset_events: Any, tmp_path: Path
) -> None:
    pytest.importorskip("pyarrow")
    asset_events.expect("changed_customers")
    sticky_street_sandbox.customers = 30
    # A run by hand has its own day; the sandbox's transactions have theirs.
    tasks = TASKS.replace("s3://exports", str(tmp_path)).replace('="{{ ds }}"', '="2010-01-07"')
    run = run_dag(dag_of(tasks))
    assert set(run.states.values()) == {"success"}
    results = {task: run.xcom(task) for task in ("everybody", "of_a_campaign", "changed")}
    assert {task: result["rows"] for task, result in results.items()} == {
        "everybody": 30,
        "of_a_campaign": 1,
        "changed": 30,
    }
    assert set(results["everybody"]) == set(re.findall(r'"(\w+)"', PAGE.split("The task returns `")[1].split("`")[0]))
    assert set(results["changed"]) == {*results["everybody"], "last"}
    assert asset_events.of("changed_customers") == [
        {name: value for name, value in results["changed"].items() if name != "path"}
    ]
    (kept,) = map(json.loads, re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL))
    written = variable("sticky_street_last.snippet.changed")
    assert (set(written), written["last"]) == (set(kept), kept["last"])
    ((run_id, began),) = written["runs"].items()
    (told,) = kept["runs"].values()
    assert (run_id, set(began), began["start"]) == (run.run_id, set(told), told["start"])
    assert written["account"] == f"127.0.0.1:{sticky_street_sandbox.port}/sandbox-account"


def variable(name: str) -> Any:
    """A Variable's object; it is gone afterwards."""
    from airflow.models import Variable
    from airflow.utils.session import create_session

    with create_session() as session:
        found = session.query(Variable).filter_by(key=name).one()
        session.delete(found)
        return json.loads(str(found.val))


def test_the_hook_does_what_the_page_says(
    sticky_street_sandbox: StickyStreetSandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    sticky_street_sandbox.customers = 8
    names: dict[str, Any] = {}
    exec(compile(PLAIN, "sticky_street.md", "exec"), names)
    assert names["emails"] == [f"customer.{number}@example.com" for number in (0, 2, 4, 6)]
    assert "4 {'status': 'success'} {'first_name': " in capsys.readouterr().out
    told = PAGE.split("`all_customers` takes")[1].split("It returns")[0]
    arguments = set(re.findall(r"`(\w+)`", told))
    assert arguments == set(ReportArguments.__annotations__)


def test_the_connection_variables_are_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = re.findall(r"^export AIRFLOW_CONN_STICKY_STREET_DEFAULT=.*$", PAGE, re.MULTILINE)
    (uri,) = re.findall(r"`(sticky-street://[^`]*)`", PAGE)
    values = [shlex.split(line)[1].split("=", 1)[1] for line in lines] + [uri]
    found = []
    for value in values:
        monkeypatch.setenv("AIRFLOW_CONN_STICKY_STREET_OF_PAGE", value)
        connection = StickyStreetHook.get_connection("sticky_street_of_page")
        assert connection.conn_type == StickyStreetHook.conn_type
        found.append(StickyStreetHook.settings_of(connection))
    assert [(settings.user_id, settings.account_id) for settings in found] == [("<user_id>", "<account_id>")] * 3
    assert {settings.http.base_url for settings in found} == {DEFAULT_HOST}
    assert f"empty for `{DEFAULT_HOST}`" in PAGE
    assert [settings.key_in_header for settings in found] == [False, True, False]
    assert [settings.user_password for settings in found] == ["<user_password>", "<access_key>", "<user_password>"]


def test_fields_of_the_form_have_their_labels() -> None:
    table = PAGE.split("| Field | What to enter |")[1].split("\n\n")[0]
    told = re.findall(r"^\| ([A-Z][\w ]*) \|", table, re.MULTILINE)
    labels = field_behaviour("sticky_street")["relabeling"]
    widgets = {"account_id": "Account id", "key_in_header": "Key in the header"}
    of_password = labels["password"].split(" (")[0]
    assert told == [labels["host"], labels["login"], of_password, *widgets.values()]


def test_arguments_of_the_operator() -> None:
    table = PAGE.split("| Argument | Default |")[1].split("\n\n")[0]
    told = {
        name: default.strip(" `")
        for names, default in re.findall(r"^\| (`[^|]*) \|([^|]*)\|", table, re.MULTILINE)
        for name in re.findall(r"`(\w+)`", names)
    }
    own = inspect.signature(StickyStreetCustomersToObjectStorageOperator.__init__).parameters
    of_files = inspect.signature(ToObjectStorageOperator.__init__).parameters
    parameters = {
        name: parameter
        for name, parameter in {**of_files, **own}.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }
    assert told == {
        name: "" if parameter.default is inspect.Parameter.empty else str(parameter.default)
        for name, parameter in parameters.items()
    }
    templates = set(StickyStreetCustomersToObjectStorageOperator.template_fields)
    (others,) = re.findall(r"All but (.*?) are templates", PAGE)
    assert set(re.findall(r"`(\w+)`", others)) == set(parameters) - templates


def test_numbers_and_fields() -> None:
    words = " ".join(PAGE.split())
    assert f"more than {report.DEEPEST} parts" in words
    assert words.count(f"the last {cursor.RUNS_REMEMBERED} ") == 2
    assert f"before the last {cursor.RUNS_REMEMBERED} with" in words
    assert f"1 to {cursor.LONGEST_ID} digits" in words
    assert f"more than {report.MOST_BYTES_OF_A_PART >> 20} MB" in words
    assert ", ".join(f"`{name}`" for name in FIELDS) in words


def shown(fields: dict[str, Any]) -> str:
    return ", ".join(f"`{name}={value}`" for name, value in fields.items()) or "nothing else"


def asked_for(sandbox: StickyStreetSandbox, arguments: dict[str, Any]) -> str:
    """One row: what was sent, and what came back."""
    hook = StickyStreetHook()
    calls = len(sandbox.calls)
    customers = list(hook.all_customers(**arguments))
    (call,) = sandbox.calls[calls:]
    sent = {name: value for name, value in call.fields.items() if name not in COMMON}
    return f"| {shown(sent)} | {len(customers)} customers | HTTP {call.status} |"


def refused(sandbox: StickyStreetSandbox, wrong: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> str:
    """One row: what was wrong, and the error."""
    ((name, value),) = wrong.items()
    fields = json.loads(sandbox.connection)
    if name == "account_id":
        fields["extra"]["account_id"] = value
    elif name == "key_in_header":
        fields["extra"]["key_in_header"] = True
        fields["password"] = value
    else:
        fields["login" if name == "user_id" else "password"] = value
    monkeypatch.setenv("AIRFLOW_CONN_STICKY_STREET_WRONG", json.dumps(fields))
    with pytest.raises(StickyStreetError) as caught:
        list(StickyStreetHook("sticky_street_wrong").all_customers())
    words = caught.value.message.partition(" (")[0]
    named = {"key_in_header": "`api_access_key`"}.get(name, f"`{name}`")
    return f"| a wrong {named} | error: {words} | HTTP {caught.value.status} |"


COMMON = ("user_id", "user_password", "account_id", "type", "report")


def test_what_comes_back(sticky_street_sandbox: StickyStreetSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    sticky_street_sandbox.customers = 20
    rows = [asked_for(sticky_street_sandbox, arguments) for arguments in ASKED]
    document = {name for call in sticky_street_sandbox.calls for name in call.fields}
    assert document == {*COMMON, *ReportArguments.__annotations__}
    rows += [refused(sticky_street_sandbox, wrong, monkeypatch) for wrong in REFUSED]
    heading = "| Beside user, account, `type=reports` and `report=customers_all` | What came back | |\n|---|---|---|\n"
    table = heading + "".join(f"{row}\n" for row in rows)
    found = PAGE.partition(BEGIN)[2].partition(END)[0]
    assert found == table, f"what comes back is now:\n{table}"
