"""A real Airflow: scheduler, API server, DAG processor and workers as processes of their own."""

from __future__ import annotations

import functools
import importlib
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

import pytest
import requests

from airflow_provider_optimove.operators.task_journal import FINISHED_BY
from airflow_provider_optimove.sandbox import OptimoveSandbox

T = TypeVar("T")

# The machine can be slow; what is waited for takes seconds on an idle one.
PATIENCE = 180.0
TASK = "send"
AIRFLOW_COMMAND = [sys.executable, "-m", "airflow"]
COMPONENTS = {
    "scheduler": ["scheduler", "--skip-serve-logs"],
    "dag-processor": ["dag-processor"],
    "api-server": ["api-server"],
    "triggerer": ["triggerer", "--skip-serve-logs"],
}
Component = Literal["scheduler", "dag-processor", "api-server", "triggerer"]
DAG = """
import datetime
import json
from pathlib import Path

from airflow.sdk import DAG

from airflow_provider_optimove.operators import optimove

arguments = json.loads(Path({arguments!r}).read_text())
operator = getattr(optimove, arguments.pop("operator"))
with DAG({dag_id!r}, schedule=None):
    operator(task_id={task!r}, retry_delay=datetime.timedelta(0), **arguments)
"""
LINES_SHOWN = 40
AIRFLOW = pytest.StashKey["LiveAirflow"]()
psutil: Any = importlib.import_module("psutil")


def until(what: str, look: Callable[[], T | None], patience: float = PATIENCE) -> T:
    """What ``look`` returns as soon as that is true."""
    deadline = time.monotonic() + patience
    while not (seen := look()):
        assert time.monotonic() < deadline, f"not within {patience:g} s: {what}"
        time.sleep(0.05)
    return seen


class TaskInstance(NamedTuple):
    """The latest try of a task as Airflow's database has it."""

    state: str
    try_number: int
    max_tries: int
    pid: int | None


class Run:
    """A run of a DAG with one task."""

    def __init__(self, airflow: LiveAirflow, dag_id: str, run_id: str) -> None:
        self._airflow = airflow
        self._name = {"dag_id": dag_id, "run_id": run_id}

    def _rows(self, query: str) -> list[tuple[Any, ...]]:
        return self._airflow.query(f"{query} where dag_id = :dag_id and run_id = :run_id", self._name)

    @property
    def task(self) -> TaskInstance:
        ((state, *others),) = self._rows("select state, try_number, max_tries, pid from task_instance")
        return TaskInstance(str(state), *others)

    @property
    def xcom(self) -> Any:
        """What the task returned."""
        ((value,),) = self._rows("select value from xcom")
        return json.loads(value)

    @property
    def state_store(self) -> dict[str, Any]:
        """What the task keeps over its tries, of writes that are not done."""
        kept = {key: json.loads(value) for key, value in self._rows("select key, value from task_state_store")}
        return {key: value for key, value in kept.items() if FINISHED_BY not in value}

    def log(self, try_number: int) -> str:
        """The log of one try."""
        folder = self._airflow.logs / f"dag_id={self._name['dag_id']}" / f"run_id={self._name['run_id']}"
        return (folder / f"task_id={TASK}" / f"attempt={try_number}.log").read_text()

    @property
    def _end(self) -> str | None:
        ((state,),) = self._rows("select state from dag_run")
        return str(state) if state in ("success", "failed") else None

    def ended(self) -> str:
        """The state of the run when it has ended."""
        return until(f"the end of {self._name}", lambda: self._end)

    def reaches(self, what: str, look: Callable[[], bool]) -> None:
        """Wait until that is so, in the course of the run."""

        def seen() -> bool:
            if look():
                return True
            assert self._end is None, f"{self._name} ended as {self._end} before: {what}"
            return False

        until(what, seen)

    def process(self, what: Literal["task", "worker"]) -> Any:
        """A process of the try that runs now.

        :param what: the one that executes the task, or Airflow's above it, which reports how that one ends.
        """
        task = psutil.Process(self.task.pid)
        return task if what == "task" else task.parent()

    def clear(self) -> None:
        """Have the task run again."""
        self._airflow.call(
            "POST",
            f"dags/{self._name['dag_id']}/clearTaskInstances",
            {
                "dry_run": False,
                "dag_run_id": self._name["run_id"],
                "task_ids": [TASK],
                "only_failed": False,
                "reset_dag_runs": True,
            },
        )


class LiveAirflow:
    """An Airflow that runs DAGs by itself.

    :param home: its directory.
    :param logs: where the logs of its components and tasks go.
    :param settings: further environment variables.

    ``url`` is the address of its API server, which stays the same when that is started again.
    """

    def __init__(self, home: Path, logs: Path, **settings: str) -> None:
        self.home = home
        self.logs = logs
        self.dags = home / "dags"
        self.dags.mkdir(parents=True)
        self.url = f"http://127.0.0.1:{free_port()}"
        self._session = requests.Session()
        self._session.trust_env = False
        self._components: dict[Component, subprocess.Popen[bytes]] = {}
        self._environment = os.environ | {
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__API__BASE_URL": self.url,
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": self.url.rpartition(":")[2],
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "AIRFLOW__CORE__DAGS_FOLDER": str(self.dags),
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
            "AIRFLOW__CORE__PARALLELISM": "2",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}",
            "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(logs),
            # A new DAG file is seen soon, and not looked at again and again.
            "AIRFLOW__DAG_PROCESSOR__BUNDLE_REFRESH_CHECK_INTERVAL": "1",
            "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "1",
            "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "300",
            # The API server's first answer takes longer than the 5 s of the default.
            "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "60",
            # A task that died with its worker is missed soon, a slow one is not.
            "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "10",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "1",
            "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.3",
            # The triggers of a triggerer that died are taken over soon.
            "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "1",
            "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "6",
            **settings,
        }

    # Life

    def start(self) -> None:
        """Start all components but the triggerer, and wait until they are healthy."""
        migration = subprocess.run(
            [*AIRFLOW_COMMAND, "db", "migrate"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self._environment,
            check=False,
        )
        assert migration.returncode == 0, migration.stdout
        self.start_component("scheduler", "dag-processor", "api-server")
        token = self._session.get(f"{self.url}/auth/token", timeout=PATIENCE).json()["access_token"]
        self._session.headers["Authorization"] = f"Bearer {token}"

    def start_component(self, *names: Component) -> None:
        """Start components, also ones that were killed, and wait until they work."""
        triggerers = self._triggerers
        for name in names:
            with (self.logs / f"{name}.log").open("ab") as log:
                self._components[name] = subprocess.Popen(
                    [*AIRFLOW_COMMAND, *COMPONENTS[name]],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=self._environment,
                    start_new_session=True,
                )
        until("a healthy Airflow", self._healthy)
        if "triggerer" in names:
            # The one before may still look alive.
            until("a triggerer", lambda: self._triggerers > triggerers)

    @property
    def _triggerers(self) -> int:
        ((jobs,),) = self.query("select count(*) from job where job_type = 'TriggererJob'", {})
        return int(jobs)

    def _healthy(self) -> bool:
        for name, process in self._components.items():
            assert process.poll() is None, f"Airflow's {name} ended with {process.returncode}"
        if "api-server" not in self._components:
            return True
        with suppress(requests.ConnectionError, requests.Timeout, ValueError):
            health = self._session.get(f"{self.url}/api/v2/monitor/health", timeout=5).json()
            return all(health[part]["status"] == "healthy" for part in ("metadatabase", "scheduler", "dag_processor"))
        return False

    def kill(self, *names: Component) -> None:
        """End components as ``kill -9`` does, and what they started; a scheduler's tasks, too."""
        killed = [self._components.pop(name) for name in names]
        for process in killed:
            process.kill()
            process.wait()
        sessions = {process.pid for process in killed}
        # Tasks have process groups of their own, and may have lost their parents; the session is what they keep.
        for pid in psutil.pids():
            with suppress(ProcessLookupError, PermissionError):
                if os.getsid(pid) in sessions:
                    os.kill(pid, signal.SIGKILL)

    def stop(self) -> None:
        """End everything that was started, and what that started."""
        self.kill(*self._components)

    # Use

    def start_run(self, dag_id: str, **arguments: Any) -> Run:
        """Run a new DAG with one task, an operator with arguments."""
        self.give(dag_id, **arguments)
        self.add_dags(DAG.format(dag_id=dag_id, task=TASK, arguments=str(self._arguments(dag_id))), dag_id)
        return self.run(dag_id)

    def add_dags(self, source: str, *dag_ids: str) -> None:
        """Put a file into the DAGs folder and wait until Airflow knows its DAGs.

        :param source: the text of the file.
        :param dag_ids: the DAGs that it defines; the file is named for the first one.
        """
        file = f"{dag_ids[0]}.py"
        (self.dags / file).write_text(source)
        for dag_id in dag_ids:
            until(f"the DAG {dag_id}", functools.partial(self._parsed, file, dag_id))

    def run(self, dag_id: str) -> Run:
        """Run a DAG that Airflow knows; of the run's properties, those of the task are for DAGs with one task."""
        started = self.call("POST", f"dags/{dag_id}/dagRuns", {"logical_date": None})
        return Run(self, dag_id, started["dag_run_id"])

    def give(self, dag_id: str, **arguments: Any) -> None:
        """What the operator gets from the next try on; with ``operator``, its name."""
        self._arguments(dag_id).write_text(json.dumps(arguments))

    def _arguments(self, dag_id: str) -> Path:
        return self.home / f"{dag_id}.json"

    def _parsed(self, file: str, dag_id: str) -> bool:
        errors = self.query("select stacktrace from import_error where filename = :file", {"file": file})
        assert not errors, errors[0][0]
        return bool(self.query("select 1 from serialized_dag where dag_id = :dag_id", {"dag_id": dag_id}))

    def call(self, verb: str, path: str, body: Any = None) -> Any:
        """Call Airflow's REST API."""
        answer = self._session.request(verb, f"{self.url}/api/v2/{path}", json=body, timeout=PATIENCE)
        assert answer.ok, answer.text
        return answer.json()

    def query(self, query: str, values: dict[str, str]) -> list[tuple[Any, ...]]:
        """Ask Airflow's database."""
        with closing(sqlite3.connect(f"file:{self.home / 'airflow.db'}?mode=ro", uri=True, timeout=60)) as metadata:
            return metadata.execute(query, values).fetchall()

    def report(self) -> list[tuple[str, str]]:
        """The logs by name: of tasks all of it, of components the end."""
        found = []
        for log in sorted(self.logs.rglob("*.log")):
            lines = log.read_text(errors="replace").splitlines()
            shown = lines if log.name.startswith("attempt=") else lines[-LINES_SHOWN:]
            if shown and "dag_processor" not in log.parts:
                found.append((str(log), "\n".join(shown)))
        return found


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture(scope="module")
def sandbox_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def airflow_settings(sandbox_port: int) -> dict[str, str]:
    """Environment variables of the module's Airflow; for a module to define its own."""
    return {"AIRFLOW_CONN_OPTIMOVE_DEFAULT": OptimoveSandbox(port=sandbox_port).connection}


@pytest.fixture(scope="module")
def airflow(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, airflow_settings: dict[str, str]
) -> Iterator[LiveAirflow]:
    """One for all tests of a module, without a triggerer; ``optimove_default`` leads to the fixture ``sandbox``."""
    if tuple(map(int, version("apache-airflow").split(".")[:2])) < (3, 3):
        pytest.skip("nothing is kept over retries and restarts before Airflow 3.3")
    # Kept after the tests, which remove their scratch directory.
    logs = Path(request.config.rootpath / ".cache" / "durability" / request.node.path.stem)
    shutil.rmtree(logs, ignore_errors=True)
    logs.mkdir(parents=True)
    airflow = LiveAirflow(tmp_path_factory.mktemp("airflow"), logs, **airflow_settings)
    request.node.stash[AIRFLOW] = airflow
    try:
        airflow.start()
        yield airflow
    finally:
        airflow.stop()


@pytest.fixture
def sandbox(sandbox_port: int) -> Iterator[OptimoveSandbox]:
    with OptimoveSandbox(port=sandbox_port) as running:
        yield running


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show Airflow's logs where a test failed."""
    report = yield
    module = item.getparent(pytest.Module)
    if report.failed and module is not None and (airflow := module.stash.get(AIRFLOW, None)):
        report.sections += airflow.report()
    return report
