"""What the README says is what the code does: its snippets run, its table is the catalogue's."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_optimove import __version__
from airflow_provider_optimove.clients.optimove.functions import catalogue, declaration
from airflow_provider_optimove.exceptions import OptimoveError
from airflow_provider_optimove.hooks.optimove import EXTRA_FIELDS, settings_from_connection
from airflow_provider_optimove.hooks.task_errors import ending_the_task
from airflow_provider_optimove.sandbox import Fault, OptimoveSandbox

pytest_plugins = ["airflow_provider_optimove.sandbox.pytest_plugin"]

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def python_of(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)


PYTHON = python_of("README.md")
DAGS = [snippet for snippet in PYTHON if "@dag" in snippet]
CONFTEST = [snippet for snippet in PYTHON if "pytest_plugins" in snippet]
PLAIN = [snippet for snippet in PYTHON if snippet not in (*DAGS, *CONFTEST)]


def test_every_kind_of_snippet_was_found() -> None:
    assert [len(kind) for kind in (DAGS, CONFTEST, PLAIN)] == [1, 1, 1]


@pytest.mark.parametrize("snippet", DAGS)
def test_dag_runs(snippet: str, optimove_sandbox: OptimoveSandbox, run_dag: Callable[[str], Any]) -> None:
    run = run_dag(snippet)
    assert set(run.states.values()) == {"success"}
    assert optimove_sandbox.promotions == {"WELCOME-BACK": "Welcome back, 10% off", "VIP-50": "VIP bonus"}
    assert 0 < run.xcom("count_targeted_customers") <= 1000


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
    conftest, tests = python_of("docs/sandbox.md")
    pytester.makeconftest(conftest)
    pytester.makepyfile(tests)
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=2)


def test_names_of_the_sandbox_page_exist() -> None:
    page = (ROOT / "docs" / "sandbox.md").read_text()
    faults = re.findall(r"`(\w+)(?:=[^`]*)?`", page.split("| `fail(function")[1].split("What was")[0])
    assert set(faults) == {field.name for field in dataclasses.fields(Fault)} - {"function"}
    sandbox = OptimoveSandbox()
    switches = re.findall(r"`([\w.]+)(?:[\[(][^`]*)?`", page.split("What was written:")[1].replace("| Switch |", ""))
    assert len(switches) > 5
    for switch in switches:
        owner, _, name = switch.rpartition(".")
        assert hasattr(getattr(sandbox, owner) if owner else sandbox, name), switch
    options = set(re.findall(r"--[a-z][a-z-]+", page)) - {"--help"}
    told = subprocess.run(
        [sys.executable, "-m", "airflow_provider_optimove.sandbox", "--help"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert options <= set(re.findall(r"--[a-z-]+", told))


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
    for cell in re.findall(r"^\| (.*?) \|", table, re.MULTILINE):
        folder = ROOT / "airflow_provider_optimove"
        for name in re.findall(r"`([\w/.]+)`", cell):
            room = folder / name if "/" in name else folder / "clients" / "optimove" / name
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
    assert set(told) == EXTRA_FIELDS - {"listener_secret"}
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
