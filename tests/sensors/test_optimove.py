"""The sensor: its decisions by themselves, and whole DAG runs of a real Airflow against a real HTTP server."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    TaskDeferred,
)
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS

from airflow_provider_optimove.exceptions import (
    OptimoveAuthenticationError,
    OptimoveError,
    OptimoveInputError,
    OptimovePermissionError,
    OptimoveServerError,
)
from airflow_provider_optimove.sandbox import OptimoveSandbox
from airflow_provider_optimove.sensors.optimove import OptimoveLastDataUpdateSensor

SECRET = "not-a-real-api-key"
BEFORE, TARGET = date(2026, 11, 19), date(2026, 11, 20)
MODES = {
    "poke": {"mode": "poke"},
    "reschedule": {"mode": "reschedule"},
    "deferrable": {"deferrable": True},
}
in_every_mode = pytest.mark.parametrize("mode", MODES.values(), ids=MODES)


class TestDecisions:
    """One poke, the deferral and the end, without a server."""

    @pytest.fixture
    def log(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        lines: list[str] = []

        class Recorder(logging.Logger):
            def handle(self, record: logging.LogRecord) -> None:
                lines.append(record.getMessage())

        monkeypatch.setattr(OptimoveLastDataUpdateSensor, "log", Recorder("recorder", logging.DEBUG))
        return lines

    @staticmethod
    def sensor(answers: Any = (), zone_of_connection: str | None = None, **arguments: Any) -> Any:
        script = list(answers)

        def get_last_data_update() -> date:
            answer = script.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer  # type: ignore[no-any-return]

        sensor = OptimoveLastDataUpdateSensor(task_id="wait", **arguments)
        client = SimpleNamespace(get_last_data_update=get_last_data_update)
        sensor.__dict__["hook"] = SimpleNamespace(client=client, timezone=zone_of_connection)
        return sensor

    @staticmethod
    def context(moment: str = "2026-11-21T06:00:00", zone_of_dag: str = "UTC") -> Any:
        at = datetime.fromisoformat(moment).replace(tzinfo=UTC)
        dag_run = SimpleNamespace(run_type="manual", run_after=at, start_date=at)
        return {"dag_run": dag_run, "dag": SimpleNamespace(timezone=ZoneInfo(zone_of_dag), timetable=None)}

    @pytest.mark.parametrize("found", [TARGET, date(2027, 1, 1)])
    def test_it_is_done_from_the_target_date_on(self, found: date) -> None:
        done = self.sensor([found], target_date=TARGET).poke({})
        assert done.is_done
        assert done.xcom_value == found.isoformat()

    def test_it_is_not_done_the_day_before(self) -> None:
        assert not self.sensor([BEFORE], target_date=TARGET).poke({})

    def test_the_log_says_in_one_line_what_was_found_and_what_is_waited_for(self, log: list[str]) -> None:
        self.sensor([BEFORE], timezone="Europe/Berlin").poke(self.context())
        assert log == [
            "GetLastDataUpdate: 2026-11-19, waiting for data of 2026-11-20 (the day before this run in Europe/Berlin)"
        ]

    @pytest.mark.parametrize(
        ("argument", "connection", "dag", "expected"),
        [
            ("America/Los_Angeles", "Europe/Berlin", "Europe/Berlin", "2026-11-19"),
            ("Europe/Berlin", "America/Los_Angeles", "America/Los_Angeles", "2026-11-20"),
            (None, "America/Los_Angeles", "Europe/Berlin", "2026-11-19"),
            (None, "Europe/Berlin", "America/Los_Angeles", "2026-11-20"),
            (None, None, "America/Los_Angeles", "2026-11-19"),
            (None, None, "Europe/Berlin", "2026-11-20"),
        ],
    )
    def test_the_zone_is_that_of_the_argument_or_the_connection_or_the_dag(
        self, log: list[str], argument: str | None, connection: str | None, dag: str, expected: str
    ) -> None:
        context = self.context("2026-11-20T23:30:00", zone_of_dag=dag)
        self.sensor([BEFORE], connection, timezone=argument).poke(context)
        assert f"{expected} (the day before this run in {argument or connection or dag})" in log[0]

    @pytest.mark.parametrize(
        ("arguments", "connection", "said"),
        [
            ({"target_date": "tomorrow"}, None, "target_date: 'tomorrow'"),
            ({"timezone": "Europe/Atlantis"}, None, "timezone: 'Europe/Atlantis'"),
            ({}, "Europe/Atlantis", "timezone of connection 'optimove_default': 'Europe/Atlantis'"),
        ],
    )
    def test_bad_input_ends_the_task_before_any_call(self, arguments: Any, connection: str | None, said: str) -> None:
        with pytest.raises(OptimoveInputError, match=said) as raised:
            self.sensor([], connection, **arguments).poke(self.context())
        assert isinstance(raised.value, AirflowFailException)

    @pytest.mark.parametrize("deferrable", [False, True])
    def test_an_error_that_may_pass_is_waited_out(self, log: list[str], deferrable: bool) -> None:
        error = OptimoveServerError("down", function="GetLastDataUpdate", status=503)
        sensor = self.sensor([error], target_date=TARGET, deferrable=deferrable)
        if deferrable:
            with pytest.raises(TaskDeferred):
                sensor.poke({})
        else:
            assert not sensor.poke({})
        assert log == ["Still waiting for data of 2026-11-20 (target_date): GetLastDataUpdate: down (HTTP 503)"]

    def test_an_error_that_stays_is_raised(self) -> None:
        with pytest.raises(OptimovePermissionError):
            self.sensor([OptimovePermissionError("no", status=403)], target_date=TARGET).poke({})

    def test_it_defers_with_its_own_interval_and_timeout(self) -> None:
        sensor = self.sensor(
            [BEFORE], optimove_conn_id="of_a_brand", deferrable=True, poke_interval=30, timeout=timedelta(hours=2)
        )
        with pytest.raises(TaskDeferred) as raised:
            sensor.execute(self.context())
        deferral = raised.value
        _, arguments = deferral.trigger.serialize()
        assert arguments == {"optimove_conn_id": "of_a_brand", "target_date": "2026-11-20", "poll_interval": 30.0}
        assert deferral.timeout == timedelta(hours=2)
        assert deferral.method_name == "execute_complete"
        assert deferral.kwargs == {"target_date": "2026-11-20"}

    def test_data_that_is_there_is_not_deferred_for(self) -> None:
        assert self.sensor([TARGET], deferrable=True).execute(self.context()) == "2026-11-20"

    @pytest.mark.parametrize("target_date", ["2026-11-20", None])
    def test_the_end_returns_the_date_of_the_event(self, target_date: str | None) -> None:
        event = {"status": "success", "date": "2026-11-21"}
        found = self.sensor().execute_complete(self.context(), event, target_date=target_date)
        assert found == "2026-11-21"

    @pytest.mark.parametrize("event", [None, {"status": "success", "date": "2026-11-19"}, {"status": "error"}])
    def test_the_end_refuses_an_event_that_ends_nothing(self, event: Any) -> None:
        with pytest.raises(OptimoveError) as raised:
            self.sensor().execute_complete(self.context(), event)
        # Airflow may try again: what is wrong is the event, not the wait.
        assert not isinstance(raised.value, AirflowFailException)

    def test_the_end_raises_the_error_of_the_trigger_without_a_retry(self) -> None:
        event = {
            "status": "error",
            "error": "OptimoveAuthenticationError",
            "message": "wrong key",
            "function": "GetLastDataUpdate",
            "status_code": 401,
        }
        with pytest.raises(OptimoveAuthenticationError, match="wrong key") as raised:
            self.sensor().execute_complete({}, event)
        assert isinstance(raised.value, AirflowFailException)
        assert (raised.value.function, raised.value.status) == ("GetLastDataUpdate", 401)


class TestDeferralTimeout:
    """What Airflow's scheduler puts into a task whose deferral timed out."""

    TIMEOUT: ClassVar = {"error": "Trigger timeout" if AIRFLOW_V_3_0_PLUS else "Trigger/execution timeout"}

    def end(self, next_kwargs: dict[str, Any], **arguments: Any) -> None:
        sensor = OptimoveLastDataUpdateSensor(task_id="wait", deferrable=True, **arguments)
        sensor.resume_execution("__fail__", next_kwargs, {})

    def test_it_is_the_timeout_of_a_sensor(self) -> None:
        with pytest.raises(AirflowSensorTimeout):
            self.end(self.TIMEOUT)

    @pytest.mark.parametrize("softly", ["soft_fail", "never_fail"])
    def test_it_skips_where_that_is_asked_for(self, softly: str) -> None:
        with pytest.raises(AirflowSkipException):
            self.end(self.TIMEOUT, **{softly: True})

    def test_a_trigger_that_died_is_no_timeout(self) -> None:
        with pytest.raises(Exception, match="Trigger failure") as raised:
            self.end({"error": "Trigger failure", "traceback": ["…"]})
        assert type(raised.value).__name__ == "TaskDeferralError"

    @pytest.mark.skipif(AIRFLOW_V_3_0_PLUS, reason="Airflow 2 has one word for both timeouts")
    def test_an_execution_timeout_that_comes_first_is_left_to_airflow(self) -> None:
        with pytest.raises(Exception, match="timeout") as raised:
            self.end(self.TIMEOUT, timeout=60, execution_timeout=timedelta(seconds=30))
        assert type(raised.value).__name__ == "TaskDeferralError"


@dataclass
class Server:
    """Answers every request with the steps of a script, and with the last one from then on."""

    script: list[tuple[int, str]] = field(default_factory=list)
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    url: str = ""

    def will_answer(self, *steps: date | int) -> None:
        """Give data dates, and errors with these HTTP statuses."""
        self.script = [
            (step, '"no"') if isinstance(step, int) else (200, json.dumps({"Date": step.isoformat()})) for step in steps
        ]


@pytest.fixture
def server() -> Iterator[Server]:
    script = Server()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            script.requests.append((self.path, self.headers.get("X-API-KEY")))
            status, body = script.script.pop(0) if len(script.script) > 1 else script.script[0]
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        http.daemon_threads = True
        script.url = f"http://127.0.0.1:{http.server_port}"
        Thread(target=http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield script
        http.shutdown()


@dataclass(frozen=True)
class Outcome:
    """What became of the sensor in a DAG run."""

    state: str
    tries: int
    returned: object
    failed_with: list[str] | None


DAG_FILE = """
import json
from datetime import datetime, timedelta
from pathlib import Path

from airflow.providers.common.compat.sdk import DAG, task
from airflow_provider_optimove.sensors.optimove import OptimoveLastDataUpdateSensor


def note_failure(context):
    error = context["exception"]
    names = [base.__name__ for base in type(error).__mro__]
    Path({failure!r}).write_text(json.dumps([str(error), *names]))


with DAG({dag_id!r}, schedule=None, start_date=datetime(2026, 1, 1)):

    @task
    def note(returned):
        Path({returned!r}).write_text(json.dumps(returned))

    note(
        OptimoveLastDataUpdateSensor(
            task_id="wait",
            optimove_conn_id="optimove_test",
            retries=2,
            retry_delay=timedelta(0),
            on_failure_callback=note_failure,
            **{arguments!r},
        ).output
    )
"""


class TestInAirflow:
    """Whole DAG runs; a deferred task's trigger runs in the same process."""

    @pytest.fixture
    def run(
        self,
        request: pytest.FixtureRequest,
        airflow_db: Path,
        server: Server,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> Iterator[Callable[..., Outcome]]:
        bags = import_module("airflow.dag_processing.dagbag" if AIRFLOW_V_3_0_PLUS else "airflow.models.dagbag")
        connection = {
            "conn_type": "optimove",
            "host": server.url,
            "password": SECRET,
            "extra": {"retry_limit": 0, "timezone": "Europe/Berlin"},
        }
        monkeypatch.setenv("AIRFLOW_CONN_OPTIMOVE_TEST", json.dumps(connection))
        dag_id = "".join(letter if letter.isalnum() else "_" for letter in request.node.name)
        dag_file = airflow_db.parent / "dags" / f"{dag_id}.py"
        returned, failure = tmp_path / "returned.json", tmp_path / "failure.json"

        def run(
            arguments: dict[str, Any], *, moment: datetime | None = None, conf: dict[str, Any] | None = None
        ) -> Outcome:
            text = DAG_FILE.format(
                dag_id=dag_id,
                returned=str(returned),
                failure=str(failure),
                arguments={"poke_interval": 0.1, "timeout": 60} | arguments,
            )
            dag_file.write_text(text)
            bag = bags.DagBag(str(dag_file))
            assert not bag.import_errors
            when: dict[str, Any] = {"run_after" if AIRFLOW_V_3_0_PLUS else "execution_date": moment}
            ended = bag.dags[dag_id].test(run_conf=conf, **when)
            (wait,) = (instance for instance in ended.get_task_instances() if instance.task_id == "wait")
            return Outcome(
                state=str(wait.state.value if hasattr(wait.state, "value") else wait.state),
                tries=wait.try_number,
                returned=json.loads(returned.read_text()) if returned.exists() else None,
                failed_with=json.loads(failure.read_text()) if failure.exists() else None,
            )

        yield run
        dag_file.unlink(missing_ok=True)

    @in_every_mode
    def test_it_waits_and_returns_the_date(
        self, run: Callable[..., Outcome], server: Server, mode: dict[str, Any]
    ) -> None:
        server.will_answer(BEFORE, BEFORE, date(2026, 11, 21))
        outcome = run(mode | {"target_date": "{{ dag_run.conf['day'] }}"}, conf={"day": "2026-11-20"})
        assert outcome == Outcome("success", 1, "2026-11-21", None)
        assert server.requests == [("/current/general/GetLastDataUpdate", SECRET)] * 3

    @in_every_mode
    def test_it_waits_for_the_day_before_the_run(
        self, run: Callable[..., Outcome], server: Server, mode: dict[str, Any]
    ) -> None:
        # Half past midnight of the 21st in the connection's zone; still the 20th in the DAG's.
        server.will_answer(BEFORE, TARGET)
        outcome = run(mode, moment=datetime(2026, 11, 20, 23, 30, tzinfo=UTC))
        assert outcome == Outcome("success", 1, "2026-11-20", None)
        assert len(server.requests) == 2

    @in_every_mode
    @pytest.mark.parametrize("first", [(), (BEFORE, BEFORE)], ids=["at once", "later"])
    def test_a_refused_key_fails_without_a_retry(
        self, run: Callable[..., Outcome], server: Server, mode: dict[str, Any], first: tuple[date, ...]
    ) -> None:
        server.will_answer(*first, 401)
        outcome = run(mode | {"target_date": "2026-11-20"})
        assert (outcome.state, outcome.tries, outcome.returned) == ("failed", 1, None)
        assert len(server.requests) == len(first) + 1
        assert outcome.failed_with is not None
        message, *classes = outcome.failed_with
        assert "401" in message
        assert {"OptimoveAuthenticationError", "AirflowFailException"} <= set(classes)

    @in_every_mode
    def test_a_server_that_fails_is_waited_for(
        self, run: Callable[..., Outcome], server: Server, mode: dict[str, Any]
    ) -> None:
        server.will_answer(503, BEFORE, 500, 503, TARGET)
        outcome = run(mode | {"target_date": "2026-11-20"})
        assert outcome == Outcome("success", 1, "2026-11-20", None)
        assert len(server.requests) == 5

    @in_every_mode
    def test_a_refused_key_skips_where_a_failure_shall_be_soft(
        self, run: Callable[..., Outcome], server: Server, mode: dict[str, Any]
    ) -> None:
        server.will_answer(BEFORE, 401)
        outcome = run(mode | {"target_date": "2026-11-20", "soft_fail": True})
        assert (outcome.state, outcome.tries) == ("skipped", 1)

    @pytest.mark.parametrize("soft_fail", [False, True])
    @pytest.mark.parametrize("mode", ["poke", "reschedule"])
    def test_it_times_out_without_a_retry(
        self, run: Callable[..., Outcome], server: Server, mode: str, soft_fail: bool
    ) -> None:
        server.will_answer(BEFORE)
        outcome = run({"mode": mode, "target_date": "2026-11-20", "timeout": 0.5, "soft_fail": soft_fail})
        assert (outcome.state, outcome.tries) == ("skipped" if soft_fail else "failed", 1)
        assert len(server.requests) >= 2

    @in_every_mode
    def test_bad_input_fails_without_a_retry_or_a_call(
        self, run: Callable[..., Outcome], server: Server, mode: dict[str, Any]
    ) -> None:
        outcome = run(mode | {"timezone": "Europe/Atlantis"})
        assert (outcome.state, outcome.tries) == ("failed", 1)
        assert outcome.failed_with is not None
        message, *classes = outcome.failed_with
        assert "timezone: 'Europe/Atlantis'" in message
        assert "OptimoveInputError" in classes
        assert server.requests == []

    def test_a_sandbox_that_reaches_the_date_meanwhile(
        self, run: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with OptimoveSandbox(customers=5, last_data_update=BEFORE) as sandbox:
            monkeypatch.setenv("AIRFLOW_CONN_OPTIMOVE_TEST", sandbox.connection)

            def process_the_day() -> None:
                while len(sandbox.calls) < 2:
                    time.sleep(0.05)
                sandbox.last_data_update = TARGET

            day = Thread(target=process_the_day, daemon=True)
            day.start()
            outcome = run({"target_date": "2026-11-20", "deferrable": True, "poke_interval": 0.5})
            day.join(1)
        assert outcome == Outcome("success", 1, "2026-11-20", None)
        assert {call.function for call in sandbox.calls} == {"GetLastDataUpdate"}
        assert len(sandbox.calls) == 3


@pytest.mark.parametrize("module", ["sensors.optimove", "triggers.optimove"])
def test_importing_it_loads_neither_http_nor_the_catalogue(module: str) -> None:
    code = f"""
import sys
from airflow.providers.common.compat.sdk import BaseSensorOperator
from airflow.triggers.base import BaseTrigger
before = set(sys.modules)
import airflow_provider_optimove.{module}
loaded = set(sys.modules) - before
print(*sorted(name for name in loaded if name.split(".")[0] not in sys.stdlib_module_names))
"""
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert f"airflow_provider_optimove.{module}" in loaded
    heavy = ("requests", "urllib3", "msgspec", "airflow_provider_optimove.clients", "airflow_provider_optimove.hooks")
    assert [name for name in loaded if name.startswith(heavy)] == []


def test_the_template_fields() -> None:
    assert set(OptimoveLastDataUpdateSensor.template_fields) == {"optimove_conn_id", "target_date", "timezone"}
