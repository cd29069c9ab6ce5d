"""What the README says is what the code does: its snippets run, its table is the catalogue's."""

from __future__ import annotations

import dataclasses
import datetime
import gzip
import importlib.util
import inspect
import json
import re
import shlex
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS

from airflow_provider_optimove import __version__
from airflow_provider_optimove.clients.long_writes import LOG_INTERVAL
from airflow_provider_optimove.clients.optimove.batching import IN_MEMORY
from airflow_provider_optimove.clients.optimove.functions import catalogue, declaration
from airflow_provider_optimove.clients.optimove.paging import DEFAULT_PAGE, LARGEST_PAGE
from airflow_provider_optimove.clients.optimove.rows import row_shape
from airflow_provider_optimove.clients.sessionm.endpoints import ENDPOINTS
from airflow_provider_optimove.exceptions import (
    MOST_PROBLEMS_SHOWN,
    OptimoveError,
    OptimoveUncertainWriteError,
    SessionMError,
)
from airflow_provider_optimove.hooks.connection_form import extra_fields
from airflow_provider_optimove.hooks.optimove import OptimoveHook, settings_from_connection
from airflow_provider_optimove.hooks.sessionm import SessionMHook
from airflow_provider_optimove.hooks.task_errors import ending_the_task
from airflow_provider_optimove.operators import optimove
from airflow_provider_optimove.operators.any_function import MOST_ROWS
from airflow_provider_optimove.operators.batched_write import LONGEST_RATE_LIMIT_WAIT, OptimoveBatchedWriteOperator
from airflow_provider_optimove.sandbox import Fault, OptimoveSandbox
from airflow_provider_optimove.sandbox.netmera import PUSH_EVENT
from airflow_provider_optimove.sandbox.serving import SystemCall
from airflow_provider_optimove.sandbox.sticky_street import CUSTOMERS_ALL
from airflow_provider_optimove.sandbox.systems import SYSTEMS
from airflow_provider_optimove.sensors.optimove import OptimoveCampaignSensor
from airflow_provider_optimove.sensors.waits import LONGEST_CALL
from airflow_provider_optimove.storage.formats import FORMATS
from airflow_provider_optimove.storage.row_files import ENDINGS
from airflow_provider_optimove.transfers.optimove_to_object_storage import OptimoveToObjectStorageOperator
from airflow_provider_optimove.transfers.to_object_storage import ToObjectStorageOperator
from airflow_provider_optimove.triggers.shared_poll import LONGEST_PAUSE

pytest_plugins = ["airflow_provider_optimove.sandbox.pytest_plugin"]

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()

ON_AIRFLOW_3 = pytest.mark.skipif(not AIRFLOW_V_3_0_PLUS, reason="events start DAGs on Airflow 3 only")


def python_of(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)


PYTHON = python_of("README.md")
DAGS = [snippet for snippet in PYTHON if "@dag" in snippet]
FIRST, REACTING = DAGS
CONFTEST = [snippet for snippet in PYTHON if "pytest_plugins" in snippet]
TASKS = [snippet for snippet in PYTHON if "task_id=" in snippet and snippet not in DAGS]
EXTRACTING, REPORTING = TASKS
PLAIN = [snippet for snippet in PYTHON if snippet not in (*DAGS, *CONFTEST, *TASKS)]
READING = (ROOT / "docs" / "reading.md").read_text()
WAITING = (ROOT / "docs" / "waiting.md").read_text()
WRITING = (ROOT / "docs" / "writing.md").read_text()


def test_every_kind_of_snippet_was_found() -> None:
    assert [len(kind) for kind in (DAGS, CONFTEST, TASKS, PLAIN)] == [2, 1, 2, 1]
    assert len(python_of("docs/reading.md")) == 5
    assert len(python_of("docs/writing.md")) == 3


def test_the_first_dag_runs(optimove_sandbox: OptimoveSandbox, run_dag: Callable[[str], Any]) -> None:
    run = run_dag(FIRST)
    assert set(run.states.values()) == {"success"}
    assert optimove_sandbox.promotions == {"WELCOME-BACK": "Welcome back, 10% off", "VIP-50": "VIP bonus"}
    assert 0 < run.xcom("count_targeted_customers") <= 1000


@ON_AIRFLOW_3
def test_the_reacting_dag_runs(run_dag: Callable[..., Any], capsys: pytest.CaptureFixture[str]) -> None:
    executed = {"EventTypeID": 13, "TimeStamp": "2026-11-20 08:00:00", "CampaignID": 6577, "ChannelID": 504}
    run = run_dag(REACTING, event=(13, executed))
    assert run.states == {"send": "success"}
    assert "Campaign 6577 was executed on channel 504" in capsys.readouterr().out


def dag_of(tasks: str) -> str:
    """A DAG file of a snippet that makes tasks."""
    return f"""
import pendulum
from airflow.providers.common.compat.sdk import DAG

with DAG("snippet", schedule=None, start_date=pendulum.datetime(2026, 1, 1)):
{textwrap.indent(tasks, "    ")}
"""


EVENTS = """\
CustomerID,CampaignID,ChannelID,InteractionDate,TemplateID,EventID
C0000001,6577,504,2026-11-20,50402,opened
C0000002,6577,504,2026-11-20,50402,clicked
C0000003,6577,504,2026-11-20,50402,opened
"""


def interactions_of(sandbox: OptimoveSandbox) -> list[tuple[int, list[str]]]:
    return [(call["EventID"], call["CustomerIDs"]) for call in sandbox.interactions]


def test_the_extracting_task_runs(
    optimove_sandbox: OptimoveSandbox, run_dag: Callable[[str], Any], tmp_path: Path
) -> None:
    run = run_dag(dag_of(EXTRACTING.replace("/exports", str(tmp_path))))
    assert run.xcom("targeted_customers")["rows"] == len(OptimoveHook().call("GetCurrentlyTargetedCustomers"))
    header, first, *_ = (tmp_path / "targeted.csv").read_text().splitlines()
    assert header == "CustomerID,CampaignID,ActionID,StartDate,EndDate,Alias,Country,OtherFields"
    assert first.startswith("C0")


def test_tasks_of_the_reading_page_run(
    optimove_sandbox: OptimoveSandbox, run_dag: Callable[[str], Any], tmp_path: Path
) -> None:
    into_a_file, several, which_day, small, in_python = python_of("docs/reading.md")
    hook = OptimoveHook()
    day = hook.client.get_last_data_update()
    campaigns = [int(campaign["CampaignID"]) for campaign in hook.client.get_executed_campaign_details(date=day)]
    tasks = f"{into_a_file}\n{several}\n{which_day}\nyesterday()\n{small}".replace("s3://exports", str(tmp_path))
    tasks = tasks.replace("2026-11-20", day.isoformat()).replace("{{ params.campaign_id }}", str(campaigns[0]))
    run = run_dag(dag_of(tasks))
    assert set(run.states.values()) == {"success"}
    rows = {campaign: hook.call("GetCustomerExecutionDetailsByCampaign", CampaignID=campaign) for campaign in campaigns}
    assert run.xcom("customers")["path"] == f"{tmp_path}/campaign-{campaigns[0]}.csv"
    assert run.xcom("customers")["rows"] == len(rows[campaigns[0]])
    assert run.xcom("one_file")["rows"] == sum(map(len, rows.values()))
    assert [file["rows"] for file in run.xcom("a_file_each")] == list(map(len, rows.values()))
    assert run.xcom("a_task_each", map_index=0)["path"] == f"{tmp_path}/campaign={campaigns[0]}/sends.csv"
    assert (
        run.xcom("yesterday") == (datetime.datetime.now(datetime.UTC).date() - datetime.timedelta(days=1)).isoformat()
    )
    assert run.xcom("details") == hook.call("GetCampaignDetails", CampaignID=campaigns[0])
    assert run.xcom("duration") == run.xcom("details")["Duration"]
    names: dict[str, Any] = {}
    exec(in_python, names)
    assert sum(names["countries"].values()) == len(hook.call("GetCurrentlyTargetedCustomers"))


def test_arguments_of_the_reading_page_are_the_operators() -> None:
    documented = dict(re.findall(r"^\| `(\w+)` \| ?`?(\w*)`? ?\|", READING.split("### Paths")[0], re.MULTILINE))
    classes = (ToObjectStorageOperator, OptimoveToObjectStorageOperator)
    signature = {name: p for kind in classes for name, p in inspect.signature(kind.__init__).parameters.items()}
    arguments = {name: signature[name].default for name in signature if name not in ("self", "kwargs")}
    required = {name for name, default in arguments.items() if default is inspect.Parameter.empty}
    assert {name for name, default in documented.items() if not default} == required
    assert {name: str(arguments[name]) for name in documented if name not in required} == {
        name: default for name, default in documented.items() if name not in required
    }
    assert set(documented) == set(arguments)
    templates = {"optimove_conn_id", "object_storage_conn_id", "function", "parameters", "path", "columns", "rename"}
    assert set(OptimoveToObjectStorageOperator.template_fields) == templates


def test_sensors_of_the_waiting_page_run(optimove_sandbox: OptimoveSandbox, run_dag: Callable[[str], Any]) -> None:
    snippet, *_ = python_of("docs/waiting.md")
    today = optimove_sandbox.last_data_update + datetime.timedelta(days=1)
    long_ago = today - datetime.timedelta(days=9)
    on_mail = OptimoveHook().call("GetExecutedCampaignsByChannel", {"ChannelID": 15, "Date": long_ago})
    campaign_id = on_mail[0]["CampaignID"]
    run = run_dag(dag_of(snippet.replace("{{ params.campaign_id }}", str(campaign_id))))
    assert set(run.states.values()) == {"success"}
    assert run.xcom("data_is_ready") == optimove_sandbox.last_data_update.isoformat()
    sends = run.xcom("campaign_was_sent")
    assert sends == OptimoveHook().call("GetExecutedCampaignChannelDetails", CampaignID=campaign_id, ChannelID=15)
    assert f"their rows: `{'`, `'.join(sends[0])}`" in WAITING


@ON_AIRFLOW_3
@pytest.mark.parametrize(
    ("number", "event", "returned"),
    [
        (1, ("optimove_data", {"date": "2026-11-20"}), {"data_date": "2026-11-20"}),
        (2, ("optimove_executed_campaigns", {"CampaignID": 6577, "Date": "2026-11-20"}), {"campaigns": [6577]}),
    ],
)
def test_dags_of_the_waiting_page_run(
    run_dag: Callable[..., Any], number: int, event: tuple[str, dict[str, Any]], returned: dict[str, Any]
) -> None:
    snippets = python_of("docs/waiting.md")
    assert len(snippets) == 3
    run = run_dag(snippets[number], event=event)
    assert {task_id: run.xcom(task_id) for task_id in run.states} == returned


def test_facts_of_the_waiting_page() -> None:
    defaults = inspect.signature(OptimoveCampaignSensor.__init__).parameters
    for argument in ("allowed_states", "failed_states"):
        (state,) = defaults[argument].default
        assert f"one of `{argument}` (`{state}`)" in WAITING
    assert (LONGEST_CALL, LONGEST_PAUSE) == (60, 15 * 60)
    assert "at most a minute" in WAITING
    assert "every 15 minutes" in WAITING


def test_numbers_and_formats_of_the_reading_page() -> None:
    words = " ".join(READING.split())
    assert f"More than {MOST_ROWS:,} rows are refused" in words
    assert f"1 to {LARGEST_PAGE:,}; None: {DEFAULT_PAGE:,}" in words
    endings = re.findall(r"`\.(\w+)`", " ".join(re.findall(r"^\| (`\..*?) \|", READING, re.MULTILINE)))
    assert sorted(endings) == sorted(FORMATS)


def test_the_reporting_task_runs(
    optimove_sandbox: OptimoveSandbox, run_dag: Callable[[str], Any], tmp_path: Path
) -> None:
    (tmp_path / "interactions.csv").write_text(EVENTS)
    run = run_dag(dag_of(REPORTING.replace("/exports", str(tmp_path))))
    assert set(run.states.values()) == {"success"}
    assert interactions_of(optimove_sandbox) == [(2, ["C0000001", "C0000003"]), (3, ["C0000002"])]


def test_tasks_of_the_writing_page_run(
    optimove_sandbox: OptimoveSandbox, run_dag: Callable[[str], Any], tmp_path: Path
) -> None:
    tasks, _, again = python_of("docs/writing.md")
    optimove_sandbox.refuse_rows("UpdateCampaignInteractions", "C0000003", "Unknown customer")
    (tmp_path / "interactions.csv.gz").write_bytes(gzip.compress(EVENTS.encode()))
    run = run_dag(dag_of(tasks.replace("s3://exports", str(tmp_path))))
    assert run.states == {"report_interactions": "failed", "unsubscribed": "success", "stop_mail": "success"}
    assert interactions_of(optimove_sandbox) == [(2, ["C0000001"]), (3, ["C0000002"])]
    assert json.loads((tmp_path / "interactions.rejected.jsonl").read_text())["row"] == 3
    assert optimove_sandbox.preferences == {(504, None): {"C0000017": 2, "C0000042": 2}}
    names: dict[str, Any] = {}
    exec(again, names)
    mended = names["rows_of"](tmp_path / "interactions.rejected.jsonl")
    optimove_sandbox.forgive_rows()
    optimove.OptimoveUpdateCampaignInteractionsOperator(task_id="again", interactions=mended).execute({})
    assert interactions_of(optimove_sandbox)[2:] == [(2, ["C0000003"])]


class TaskState(dict[str, Any]):
    """Airflow's task state, as an operator sees it."""

    def set(self, key: str, value: Any, **options: Any) -> None:
        self[key] = value

    def delete(self, key: str) -> None:
        self.pop(key, None)


def test_rows_that_had_arrived_are_passed_over_as_the_writing_page_says(optimove_sandbox: OptimoveSandbox) -> None:
    names: dict[str, Any] = {}
    exec(python_of("docs/writing.md")[1], names)
    state = TaskState()
    metric = {"ChannelID": 504, "CampaignID": 6577, "TemplateID": 50402, "MetricID": 2}

    def send() -> Any:
        task = optimove.OptimoveUpdateCampaignMetricsOperator(
            task_id="send",
            metrics=[{**metric, "MetricValue": number} for number in range(1, 11)],
            batch_size=3,
        )
        return task.execute({"task_state_store": state})  # type: ignore[typeddict-item]

    optimove_sandbox.fail("UpdateCampaignMetrics", drop="after", after=1)
    with pytest.raises(OptimoveUncertainWriteError, match="in doubt: rows 4 to 6"):
        send()
    with pytest.raises(OptimoveUncertainWriteError, match="rows 4 to 6"):
        send()
    state["optimove_write"] = names["arrived"](state["optimove_write"])
    assert send()["resumed_rows"] == 6
    assert [row["MetricValue"] for row in optimove_sandbox.metrics] == list(range(1, 11))
    assert state == {}


def test_what_the_writing_page_shows_is_what_comes(optimove_sandbox: OptimoveSandbox, tmp_path: Path) -> None:
    rejected, failed, summary = map(json.loads, re.findall(r"```json\n(.*?)```", WRITING, re.DOTALL))
    optimove_sandbox.refuse_rows("UpdateCustomerPromotionStatus", "C0000007", "no such customer")
    optimove.OptimoveUpdateCustomerPromotionStatusOperator(
        task_id="update",
        campaign_id=6577,
        promos_updated=[{"CustomerID": f"C000000{number}", "Status": True} for number in range(1, 9)],
        on_rejected="isolate",
        rejected_path=str(tmp_path / "rejected.jsonl"),
        fail_on_rejected=False,
    ).execute({})
    assert json.loads((tmp_path / "rejected.jsonl").read_text()) == rejected

    for path in (None, str(tmp_path / "failed.jsonl")):
        erase = optimove.OptimoveRemoveCustomerPIIOperator(task_id="x", customer_ids=["C0000007"], failed_path=path)
        erased = erase.execute({})
    assert json.loads((tmp_path / "failed.jsonl").read_text()) == failed

    rows = [{"PromoCode": f"P{number}", "PromotionName": "x"} for number in range(250)]
    added = optimove.OptimoveAddPromotionsOperator(task_id="x", promotions=rows).execute({})
    assert added == summary
    sent = optimove.OptimoveSendTransactionalMailOperator(task_id="x", template_id=127, recipients=[{"Email": "a@b.c"}])
    keys = re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`.*?) \|", WRITING.split("| Key |")[1], re.MULTILINE)))
    assert {*keys, "function"} == {*added, *erased, *sent.execute({})}


def test_table_of_operators() -> None:
    table = WRITING.split("| Operator |")[1].split("\n\n")[0]
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:]]
    shared = set(inspect.signature(OptimoveBatchedWriteOperator.__init__).parameters)
    told: dict[str, set[str]] = {}
    name = ""
    for written, rows, others, most, harmless in lines:
        name = written.strip("`") if written.startswith("`") else name
        function = catalogue()[name]
        argument, fields = rows.split(": ")
        told.setdefault(name, set()).update(re.findall(r"`(\w+)`", f"{argument} {others}"))
        assert most == f"{function.max_rows or 100:,}"
        assert harmless == ("yes" if function.repeatable else "**no**")
        shape = row_shape(function).fields
        if argument == "`interactions`":
            own = {p.name: p for p in function.parameters_beside_rows}
            shape = {**shape, **own}
        assert set(fields.split(", ")) == {f"{field}{'' if p.required else '?'}" for field, p in shape.items()}
    operators = [
        found for found in vars(optimove).values() if isinstance(found, type) and found.__module__ == optimove.__name__
    ]
    assert [f"Optimove{name}Operator" for name in told] == [operator.__name__ for operator in operators]
    for arguments, operator in zip(told.values(), operators, strict=True):
        assert arguments == set(inspect.signature(operator).parameters) - {"self", "kwargs"}
        assert f"`{operator.__name__}`" in README
    of_all = re.findall(
        r"^\| `(\w+)` \| `?([\w]+)`? \|", WRITING.split("| Argument |")[1].split("\n\n")[0], re.MULTILINE
    )
    assert {name for name, _ in of_all} == shared - {"self", "kwargs"}
    signature = inspect.signature(OptimoveBatchedWriteOperator.__init__).parameters
    assert {name: str(signature[name].default) for name, _ in of_all} == dict(of_all)


def test_formats_of_the_writing_page() -> None:
    cells = re.findall(r"^\| (`\..*?) \|", WRITING, re.MULTILINE)
    endings = re.findall(r"`(\.\w+)`", " ".join(cells))
    zipped = [f"{ending}.gz" for ending in endings if ending != ".parquet"]
    assert sorted([*endings, *zipped]) == sorted(ENDINGS)
    words = " ".join(WRITING.split())
    for limit in (
        f"at most {LONGEST_RATE_LIMIT_WAIT} seconds",
        f"first {MOST_PROBLEMS_SHOWN} bad rows",
        f"every {LOG_INTERVAL:.0f} seconds",
        f"up to {IN_MEMORY >> 20} MB",
    ):
        assert limit in words


def anchors_of(page: Path) -> set[str]:
    """What a link can name in a page, behind ``#``."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", ["README.md", *(f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md"))])
def test_links_lead_somewhere(page: str) -> None:
    for link in re.findall(r"\]\(([^)]*)\)", (ROOT / page).read_text()):
        if "://" not in link:
            file, _, anchor = link.partition("#")
            target = (ROOT / page).parent / file if file else ROOT / page
            assert target.exists(), link
            assert not anchor or anchor in anchors_of(target), link


@pytest.mark.parametrize("snippet", PLAIN)
def test_snippet_runs(snippet: str, optimove_sandbox: OptimoveSandbox) -> None:
    names: dict[str, Any] = {}
    exec(compile(snippet, "README.md", "exec"), names)
    assert names["details"]["Status"]
    assert len(names["attributes"]) == 2
    assert optimove_sandbox.promotions == {"WB23": "Welcome back"}


@pytest.mark.parametrize("snippet", CONFTEST)
def test_fixture_of_the_conftest_works(snippet: str, pytester: pytest.Pytester) -> None:
    pytester.makeconftest(snippet)
    pytester.makepyfile(
        """
        from airflow_provider_optimove.hooks.optimove import OptimoveHook

        def test_my_dag(optimove_sandbox):
            OptimoveHook().call("AddPromotions", body=[{"PromoCode": "A", "PromotionName": "B"}])
            assert optimove_sandbox.promotions == {"A": "B"}
        """
    )
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=1)


def test_tests_of_the_sandbox_page_pass(pytester: pytest.Pytester) -> None:
    conftest, tests, tests_of_other_systems, _ = python_of("docs/sandbox.md")
    pytester.makeconftest(conftest)
    pytester.makepyfile(test_one=tests, test_other=tests_of_other_systems)
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=3)


def test_script_of_the_sandbox_page_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    *_, script = python_of("docs/sandbox.md")

    def run_the_dag(prompt: str) -> str:
        exports = re.findall(r"^export (\w+)='(.*)'$", capsys.readouterr().out, re.MULTILINE)
        assert len(exports) == 2
        for name, connection in exports:
            monkeypatch.setenv(name, connection)
        OptimoveHook().call("AddPromotions", body=[{"PromoCode": "A", "PromotionName": "B"}])
        with pytest.raises(SessionMError):
            SessionMHook().opt_in(1, external_id="C0000001")
        return ""

    monkeypatch.setattr("builtins.input", run_the_dag)
    exec(compile(script, "sandbox.md", "exec", dont_inherit=True), {})
    told = capsys.readouterr().out
    assert "OptIn(campaign_id=1" in told
    assert "{'A': 'B'}" in told
    assert "('opt_in', None)" in told


def test_names_of_the_sandbox_page_exist() -> None:
    page, other_systems = (ROOT / "docs" / "sandbox.md").read_text().split("## The systems beside Optimove")
    faults = re.findall(r"`(\w+)(?:=[^`]*)?`", page.split("| `fail(function")[1].split("What was")[0])
    assert set(faults) == {field.name for field in dataclasses.fields(Fault)} - {"function"}
    sandbox = OptimoveSandbox()
    switches = re.findall(r"`([\w.]+)(?:[\[(][^`]*)?`", page.split("What was written:")[1].replace("| Switch |", ""))
    assert len(switches) > 5
    for switch in switches:
        owner, _, name = switch.rpartition(".")
        assert hasattr(getattr(sandbox, owner) if owner else sandbox, name), switch
    options = set(re.findall(r"--[a-z][a-z-]+", page + other_systems)) - {"--help"}
    told = subprocess.run(
        [sys.executable, "-m", "airflow_provider_optimove.sandbox", "--help"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert options <= set(re.findall(r"--[a-z-]+", told))


def test_other_systems_of_the_sandbox_page(request: pytest.FixtureRequest) -> None:
    section = (ROOT / "docs" / "sandbox.md").read_text().split("## The systems beside Optimove")[1]
    rows = [
        [re.findall(r"`(\w+)[`(]", cell) for cell in line.split("|")[1:-1]]
        for line in re.findall(r"^\| `.*$", section, re.MULTILINE)
    ]
    operations: list[str] = []
    for ((fixture,), connection, names, happened, switches), kind in zip(rows, SYSTEMS.values(), strict=True):
        stand_in = request.getfixturevalue(fixture)
        assert type(stand_in) is kind
        assert connection == [stand_in.connection_id]
        assert [name for name in (*happened, *switches) if not hasattr(stand_in, name)] == []
        assert f"`{kind.__name__}`" in section
        operations += names
    sessionm = dict.fromkeys(endpoint.operation for endpoint in ENDPOINTS)
    assert operations == [PUSH_EVENT, *sessionm, CUSTOMERS_ALL]
    of_a_call = section.split("A call holds")[1].split("; where")[0]
    assert set(re.findall(r"`(\w+)`", of_a_call)) == {field.name for field in dataclasses.fields(SystemCall)}


def test_declaration_of_the_development_page_is_one() -> None:
    (snippet,) = python_of("docs/development.md")
    names: dict[str, Any] = {}
    declared_before = list(declaration._declared)
    try:
        exec(compile(snippet, "development.md", "exec", dont_inherit=True), names)
        (new,) = [function for function in declaration._declared if function not in declared_before]
    finally:
        declaration._declared[:] = declared_before
    assert (new.name, new.path, new.answer, new.answer_shape) == (
        "GetHolidays",
        "actions/GetHolidays",
        "rows",
        names["Holiday"],
    )


def test_rooms_of_the_development_page_exist() -> None:
    page = (ROOT / "docs" / "development.md").read_text()
    table = page.split("| Room |")[1].split("\n\n")[0]
    for cell in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE):
        room = ROOT / "airflow_provider_optimove"
        for name in re.findall(r"`([\w/.]+)`", cell):
            # A name without a folder is in that of the one before.
            room = ROOT / "airflow_provider_optimove" / name if "/" in name else room.parent / name
            assert room.exists(), name


def test_connection_variable_is_a_connection() -> None:
    from airflow.providers.common.compat.sdk import Connection

    (line,) = re.findall(r"^export AIRFLOW_CONN_OPTIMOVE_DEFAULT=.*$", README, re.MULTILINE)
    fields = json.loads(shlex.split(line)[1].split("=", 1)[1])
    extra = json.dumps(fields.pop("extra"))
    settings = settings_from_connection(
        Connection(conn_id="optimove_default", extra=extra, **(fields | {"password": "k"}))
    )
    assert settings.http.base_url == "https://api5.optimove.net"


def test_function_table_is_the_catalogues() -> None:
    spec = importlib.util.spec_from_file_location("function_table", ROOT / "scripts" / "function_table.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    table = README.split(script.BEGIN)[1].split(script.END)[0]
    assert table == f"\n{script.function_table()}\n"
    assert re.findall(r"^\| ([A-Z]\w+) \| `", table, re.MULTILINE) == list(catalogue())


def test_extras_and_their_defaults() -> None:
    from airflow.providers.common.compat.sdk import Connection

    rows = re.findall(r"^\| (`[a-z_`, ]+`) \| ([^|]*) \|", README, re.MULTILINE)
    told = {name: default for names, default in rows for name in re.findall(r"`(\w+)`", names)}
    assert set(told) == extra_fields("optimove")
    settings = settings_from_connection(Connection(conn_id="x", conn_type="optimove", host="https://a.b", password="k"))
    defaults = {
        "rate_limit": f"`{settings.rate_limit}`",
        "connect_timeout": f"{settings.http.connect_timeout}, {settings.http.read_timeout}",
        "retry_limit": f"{settings.http.retry_limit}, {settings.http.total_timeout}",
        "session_cache": f"`{settings.session_cache}`",
        "api_path": f"`{settings.api_path}`",
        "verify": f"{str(settings.http.verify).lower()}, none",
    }
    assert {name: told[name] for name in defaults} == defaults


def test_errors_and_what_they_do_to_a_task() -> None:
    from airflow.providers.common.compat.sdk import AirflowFailException

    told = dict(re.findall(r"^\| `(Optimove\w+Error)` \|.*\| ([a-z ]+) \|$", README, re.MULTILINE))
    assert set(told) == {error.__name__ for error in OptimoveError.__subclasses__() if "exceptions" in error.__module__}
    for error in OptimoveError.__subclasses__():
        if error.__module__.endswith(".exceptions"):
            fails = isinstance(ending_the_task(error("x")), AirflowFailException)
            assert told[error.__name__] == ("fails at once" if fails else "retried")


def test_changelog_has_this_version() -> None:
    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text()
