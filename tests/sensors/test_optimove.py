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
    Connection,
    TaskDeferred,
)
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS

from airflow_provider_optimove.exceptions import (
    OptimoveAuthenticationError,
    OptimoveCampaignFailedError,
    OptimoveError,
    OptimoveInputError,
    OptimovePermissionError,
    OptimoveServerError,
)
from airflow_provider_optimove.sandbox import OptimoveSandbox
from airflow_provider_optimove.sensors.optimove import OptimoveCampaignSensor, OptimoveLastDataUpdateSensor
from airflow_provider_optimove.sensors.waiting import OptimoveSensor
from airflow_provider_optimove.sensors.waits import LONGEST_CALL
from airflow_provider_optimove.triggers.events import success_event

SECRET = "not-a-real-api-key"
BEFORE, TARGET = date(2024, 11, 19), date(2024, 11, 20)
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

        monkeypatch.setattr(OptimoveSensor, "log", Recorder("recorder", logging.DEBUG))
        return lines

    @staticmethod
    def sensor(answers: Any = (), zone_of_connection: str | None = None, **arguments: Any) -> Any:
        script = list(answers)

        def answer(**_: object) -> Any:
            answer = script.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer

        kind = OptimoveCampaignSensor if "campaign_id" in arguments else OptimoveLastDataUpdateSensor
        sensor = kind(task_id="wait", **arguments)
        client = SimpleNamespace(
            get_last_data_update=answer,
            get_campaign_details=answer,
            get_executed_campaign_channel_details=answer,
        )
        sensor.__dict__["hook"] = SimpleNamespace(client=client, timezone=zone_of_connection)
        return sensor

    @staticmethod
    def context(moment: str = "2024-11-21T06:00:00", zone_of_dag: str = "UTC") -> Any:
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
            "GetLastDataUpdate: 2024-11-19, waiting for data of 2024-11-20 (the day before this run in Europe/Berlin)"
        ]

    @pytest.mark.parametrize(
        ("argument", "connection", "dag", "expected"),
        [
            ("America/Los_Angeles", "Europe/Berlin", "Europe/Berlin", "2024-11-19"),
            ("Europe/Berlin", "America/Los_Angeles", "America/Los_Angeles", "2024-11-20"),
            (None, "America/Los_Angeles", "Europe/Berlin", "2024-11-19"),
            (None, "Europe/Berlin", "America/Los_Angeles", "2024-11-20"),
            (None, None, "America/Los_Angeles", "2024-11-19"),
            (None, None, "Europe/Berlin", "2024-11-20"),
        ],
    )
    def test_the_zone_is_that_of_the_argument_or_the_connection_or_the_dag(
        self, log: list[str], argument: str | None, connection: str | None, dag: str, expected: str
    ) -> None:
        context = self.context("2024-11-20T23:30:00", zone_of_dag=dag)
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

    def test_an_error_that_may_pass_is_waited_out(self, log: list[str]) -> None:
        error = OptimoveServerError("down", function="GetLastDataUpdate", status=503)
        assert not self.sensor([error], target_date=TARGET).poke({})
        assert log == ["Still waiting for data of 2024-11-20 (target_date): GetLastDataUpdate: down (HTTP 503)"]

    def test_an_error_that_stays_is_raised(self) -> None:
        with pytest.raises(OptimovePermissionError):
            self.sensor([OptimovePermissionError("no", status=403)], target_date=TARGET).poke({})

    def test_no_call_takes_long(self) -> None:
        connection = Connection(conn_id="x", conn_type="optimove", host="https://a.b", password="k", extra="{}")
        hook = OptimoveLastDataUpdateSensor(task_id="wait").hook
        hook.__dict__["_connection"] = connection
        assert hook.client.settings.http.total_timeout == LONGEST_CALL
        connection.extra = '{"total_timeout": 5}'
        hook.__dict__.pop("client")
        assert hook.client.settings.http.total_timeout == 5

    def test_it_defers_at_once_with_its_own_interval_and_timeout(self, log: list[str]) -> None:
        sensor = self.sensor(
            [], optimove_conn_id="of_a_brand", deferrable=True, poke_interval=30, timeout=timedelta(hours=2)
        )
        with pytest.raises(TaskDeferred) as raised:
            sensor.execute(self.context())
        deferral = raised.value
        _, arguments = deferral.trigger.serialize()
        assert arguments == {
            "optimove_conn_id": "of_a_brand",
            "target_date": "2024-11-20",
            "poll_interval": 30.0,
            "timezone": None,
        }
        assert deferral.timeout == timedelta(hours=2)
        assert deferral.method_name == "execute_complete"
        assert log[-1:] == ["Deferred: waiting for data of 2024-11-20 (the day before this run in UTC)"]

    @pytest.mark.parametrize(
        ("given", "waited_for"),
        [
            ({}, {"allowed_states": ["Successful"], "failed_states": ["Failed"]}),
            (
                {"allowed_states": "Partially Run", "failed_states": ()},
                {"allowed_states": ["Partially Run"], "failed_states": []},
            ),
            ({"channel_id": "504"}, {"channel_id": 504}),
        ],
    )
    def test_a_campaign_sensor_defers_with_what_it_waits_for(self, given: Any, waited_for: Any) -> None:
        with pytest.raises(TaskDeferred) as raised:
            self.sensor([], campaign_id=" 221 ", deferrable=True, **given).poke({})
        waited_for = {"campaign_id": 221} | waited_for
        _, arguments = raised.value.trigger.serialize()
        assert (
            waited_for | {"optimove_conn_id": "optimove_default", "poll_interval": 60.0}
        ).items() <= arguments.items()

    @pytest.mark.parametrize(
        ("given", "answer"),
        [
            ({}, {"Status": "successful", "Error": None, "Notes": "x"}),
            ({"allowed_states": ["Not Run"]}, {"status": "Not Run"}),
            ({"channel_id": 504}, [{"SendID": "S1", "TemplateID": 7, "ScheduledTime": "2024-11-20 08:00:00"}]),
        ],
    )
    def test_a_campaign_sensor_returns_what_optimove_sent(self, given: Any, answer: Any) -> None:
        done = self.sensor([answer], campaign_id=221, **given).poke({})
        assert done.is_done
        assert done.xcom_value == answer
        sensor = self.sensor(campaign_id=221, **given)
        assert sensor.execute_complete({}, success_event(answer, {"campaign_id": 221, **given})) == answer

    def test_an_error_beside_an_allowed_state_is_logged(self, log: list[str]) -> None:
        answer = {"Status": "Partially Run", "Error": "Some had no device"}
        assert self.sensor([answer], campaign_id=221, allowed_states=["Partially Run"]).poke({})
        assert log[0] == "campaign 221 is Partially Run: Some had no device"

    def test_a_campaign_that_failed_ends_the_task(self) -> None:
        with pytest.raises(OptimoveCampaignFailedError, match="No template") as raised:
            self.sensor([{"Status": "Failed", "Error": "No template"}], campaign_id=221).poke({})
        assert isinstance(raised.value, AirflowFailException)

    @pytest.mark.parametrize("deferrable", [False, True])
    @pytest.mark.parametrize(
        ("given", "said"),
        [
            ({"campaign_id": "the newest"}, "campaign_id: 'the newest'"),
            ({"campaign_id": True}, "campaign_id: True"),
            ({"campaign_id": 1, "channel_id": "None"}, "channel_id: 'None'"),
            ({"campaign_id": 1, "allowed_states": []}, "allowed_states: empty"),
            ({"campaign_id": 1, "allowed_states": [1]}, "allowed_states"),
            ({"campaign_id": 1, "failed_states": 7}, "failed_states"),
        ],
    )
    def test_a_bad_argument_ends_the_task_before_any_call(self, given: Any, said: str, deferrable: bool) -> None:
        with pytest.raises(OptimoveInputError, match=said) as raised:
            self.sensor([], deferrable=deferrable, **given).poke({})
        assert isinstance(raised.value, AirflowFailException)

    def test_the_end_returns_the_date_of_the_event(self) -> None:
        event = success_event("2024-11-21", {"target_date": "2024-11-20"})
        assert self.sensor().execute_complete({}, event) == "2024-11-21"

    def test_what_was_waited_for_is_not_rendered_anew(self) -> None:
        event = success_event("2024-11-20", {"target_date": "2024-11-20"})
        assert self.sensor(target_date="2024-11-21").execute_complete({}, event) == "2024-11-20"

    @pytest.mark.parametrize("waited_for", [{}, {"target_date": "a day"}, {"campaign_id": 221}])
    def test_the_end_refuses_an_event_of_another_wait(self, waited_for: dict[str, Any]) -> None:
        with pytest.raises(OptimoveError, match="does not end the wait") as raised:
            self.sensor().execute_complete({}, success_event("2024-11-20", waited_for))
        assert not isinstance(raised.value, AirflowFailException)

    @pytest.mark.parametrize(
        "event",
        [
            None,
            {"status": "error"},
            *(
                success_event(value, {"target_date": "2024-11-20"})
                for value in (None, 20241120, "2024-11-19", "20241120", "2024-W47-5", "2024-11-20T00:00", "2024-13-01")
            ),
        ],
    )
    def test_the_end_refuses_an_event_that_ends_nothing(self, event: Any) -> None:
        with pytest.raises(OptimoveError) as raised:
            self.sensor().execute_complete({}, event)
        # Airflow may try again: what is wrong is the event, not the wait.
        assert not isinstance(raised.value, AirflowFailException)

    @pytest.mark.parametrize("channel_id", [None, 504])
    @pytest.mark.parametrize(
        "value",
        [None, True, 7, "x", [], {}, {"Status": "Not Run"}, {"Status": "Failed"}, [{}], [{"SendID": "S1"}], [1]],
    )
    def test_the_end_of_a_campaign_refuses_what_ends_nothing(self, value: Any, channel_id: int | None) -> None:
        sensor = self.sensor(campaign_id=221, channel_id=channel_id)
        with pytest.raises(OptimoveError) as raised:
            sensor.execute_complete({}, success_event(value, {"campaign_id": 221, "channel_id": channel_id}))
        assert not isinstance(raised.value, AirflowFailException)

    def test_a_workers_clock_that_is_behind_does_no_harm(self) -> None:
        sends = [{"SendID": "S1", "ScheduledTime": (datetime.now(UTC) + timedelta(minutes=1)).isoformat()}]
        event = success_event(sends, {"campaign_id": 221, "channel_id": 504})
        assert self.sensor(campaign_id=221, channel_id=504).execute_complete({}, event) == sends

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

    @pytest.mark.parametrize("event", [None, {"status": "error", "error": "OptimovePermissionError", "message": "no"}])
    def test_whatever_ends_a_deferral_skips_where_it_shall_never_fail(self, event: Any) -> None:
        sensor = self.sensor(never_fail=True, deferrable=True)
        with pytest.raises(AirflowSkipException):
            sensor.resume_execution("execute_complete", {"event": event, "target_date": "2024-11-20"}, {})


class TestTimeoutOverRetries:
    """Airflow 3.3 keeps a task's state over its retries: there a deferral's timeout counts from the first try."""

    class Store(dict[str, Any]):
        def set(self, key: str, value: Any) -> None:
            self[key] = json.loads(json.dumps(value))

    def deferred_for(self, store: Any, max_tries: int = 2, **arguments: Any) -> timedelta | None:
        sensor: Any = OptimoveLastDataUpdateSensor(
            task_id="wait", target_date=TARGET, deferrable=True, retries=2, timeout=3600, **arguments
        )
        context: Any = {"ti": SimpleNamespace(max_tries=max_tries), "task_state_store": store}
        with pytest.raises(TaskDeferred) as raised:
            sensor.execute(context)
        left: timedelta | None = raised.value.timeout
        return left

    @staticmethod
    def begun(minutes: int, first_try: int = 1) -> Any:
        since = datetime.now(UTC) - timedelta(minutes=minutes)
        return TestTimeoutOverRetries.Store(optimove_wait={"first_try": first_try, "since": since.isoformat()})

    def test_the_first_try_notes_when_it_begins(self) -> None:
        store = self.Store()
        assert self.deferred_for(store) == timedelta(hours=1)
        assert store["optimove_wait"]["first_try"] == 1
        assert datetime.now(UTC) - datetime.fromisoformat(store["optimove_wait"]["since"]) < timedelta(minutes=1)

    def test_a_retry_has_what_is_left(self) -> None:
        left = self.deferred_for(self.begun(20))
        assert left is not None
        assert timedelta(minutes=39) < left <= timedelta(minutes=40)

    def test_a_task_that_was_cleared_begins_anew(self) -> None:
        assert self.deferred_for(self.begun(90), max_tries=3) == timedelta(hours=1)

    def test_a_retry_after_the_timeout_does_not_wait(self) -> None:
        with pytest.raises(AirflowSensorTimeout):
            self.deferred_for(self.begun(61))

    @pytest.mark.parametrize("softly", ["soft_fail", "never_fail"])
    def test_it_skips_where_that_is_asked_for(self, softly: str) -> None:
        with pytest.raises(AirflowSkipException):
            self.deferred_for(self.begun(61), **{softly: True})


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

    def will_answer(self, *steps: Any) -> None:
        """Give data dates and other answers, errors with these HTTP statuses, and 400 with these texts."""
        for step in steps:
            if isinstance(step, int):
                self.script.append((step, '"no"'))
            elif isinstance(step, str):
                self.script.append((400, json.dumps(step)))
            else:
                answer = {"Date": step.isoformat()} if isinstance(step, date) else step
                self.script.append((200, json.dumps(answer)))


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
from airflow_provider_optimove.sensors.optimove import OptimoveCampaignSensor, OptimoveLastDataUpdateSensor


def note_failure(context):
    error = context["exception"]
    names = [base.__name__ for base in type(error).__mro__]
    Path({failure!r}).write_text(json.dumps([str(error), *names]))


with DAG({dag_id!r}, schedule=None, start_date=datetime(2024, 1, 1)):

    @task
    def note(returned):
        Path({returned!r}).write_text(json.dumps(returned))

    note(
        {sensor}(
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
                sensor="OptimoveCampaignSensor" if "campaign_id" in arguments else "OptimoveLastDataUpdateSensor",
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
        server.will_answer(BEFORE, BEFORE, date(2024, 11, 21))
        outcome = run(mode | {"target_date": "{{ dag_run.conf['day'] }}"}, conf={"day": "2024-11-20"})
        assert outcome == Outcome("success", 1, "2024-11-21", None)
        assert server.requests == [("/current/general/GetLastDataUpdate", SECRET)] * 3

    @in_every_mode
    def test_it_waits_for_the_day_before_the_run(
        self, run: Callable[..., Outcome], server: Server, mode: dict[str, Any]
    ) -> None:
        # Half past midnight of the 21st in the connection's zone; still the 20th in the DAG's.
        server.will_answer(BEFORE, TARGET)
        outcome = run(mode, moment=datetime(2024, 11, 20, 23, 30, tzinfo=UTC))
        assert outcome == Outcome("success", 1, "2024-11-20", None)
        assert len(server.requests) == 2

    @in_every_mode
    @pytest.mark.parametrize("first", [(), (BEFORE, BEFORE)], ids=["at once", "later"])
    def test_a_refused_key_fails_without_a_retry(
        self, run: Callable[..., Outcome], server: Server, mode: dict[str, Any], first: tuple[date, ...]
    ) -> None:
        server.will_answer(*first, 401)
        outcome = run(mode | {"target_date": "2024-11-20"})
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
        outcome = run(mode | {"target_date": "2024-11-20"})
        assert outcome == Outcome("success", 1, "2024-11-20", None)
        assert len(server.requests) == 5

    @in_every_mode
    def test_a_refused_key_skips_where_a_failure_shall_be_soft(
        self, run: Callable[..., Outcome], server: Server, mode: dict[str, Any]
    ) -> None:
        server.will_answer(BEFORE, 401)
        outcome = run(mode | {"target_date": "2024-11-20", "soft_fail": True})
        assert (outcome.state, outcome.tries) == ("skipped", 1)

    @pytest.mark.parametrize("soft_fail", [False, True])
    @pytest.mark.parametrize("mode", ["poke", "reschedule"])
    def test_it_times_out_without_a_retry(
        self, run: Callable[..., Outcome], server: Server, mode: str, soft_fail: bool
    ) -> None:
        server.will_answer(BEFORE)
        outcome = run({"mode": mode, "target_date": "2024-11-20", "timeout": 0.5, "soft_fail": soft_fail})
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

    @in_every_mode
    def test_it_waits_for_a_campaign_and_returns_its_details(
        self, run: Callable[..., Outcome], server: Server, mode: dict[str, Any]
    ) -> None:
        details = {"TargetGroupID": 15, "Status": "Successful", "Error": None}
        server.will_answer("Unknown CampaignID", None, 503, details | {"Status": "Not Run"}, details)
        outcome = run(mode | {"campaign_id": "{{ dag_run.conf['campaign'] }}"}, conf={"campaign": 221})
        assert outcome == Outcome("success", 1, details, None)
        assert server.requests == [("/current/actions/GetCampaignDetails?CampaignID=221", SECRET)] * 5

    @in_every_mode
    def test_it_waits_for_the_sends_of_a_campaign_on_a_channel(
        self, run: Callable[..., Outcome], server: Server, mode: dict[str, Any]
    ) -> None:
        def rows(*scheduled: datetime) -> list[dict[str, Any]]:
            return [
                {"SendID": f"S{number}", "TemplateID": 7, "ScheduledTime": f"{moment:%Y-%m-%d %H:%M:%S}"}
                for number, moment in enumerate(scheduled)
            ]

        soon = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=4)
        sends = rows(soon - timedelta(hours=1), soon)
        server.will_answer([], sends)
        outcome = run(mode | {"campaign_id": 221, "channel_id": "504"})
        assert outcome == Outcome("success", 1, sends, None)
        assert datetime.now(UTC) >= soon
        path = "/current/actions/GetExecutedCampaignChannelDetails?CampaignID=221&ChannelID=504"
        assert set(server.requests) == {(path, SECRET)}

    @in_every_mode
    @pytest.mark.parametrize(
        ("answer", "arguments", "error"),
        [
            (
                {"TargetGroupID": 15, "Status": "Partially Run", "Error": "No template"},
                {},
                "OptimoveCampaignFailedError",
            ),
            ("No template: unknown ChannelID", {"channel_id": 1}, "OptimoveBadRequestError"),
        ],
        ids=["error", "bad request"],
    )
    def test_a_campaign_that_failed_fails_without_a_retry(
        self,
        run: Callable[..., Outcome],
        server: Server,
        mode: dict[str, Any],
        answer: Any,
        arguments: dict[str, Any],
        error: str,
    ) -> None:
        server.will_answer(None, answer)
        outcome = run(mode | {"campaign_id": 221} | arguments)
        assert (outcome.state, outcome.tries, outcome.returned) == ("failed", 1, None)
        assert len(server.requests) == 2
        assert outcome.failed_with is not None
        message, *classes = outcome.failed_with
        assert "No template" in message
        assert {error, "AirflowFailException"} <= set(classes)

    @in_every_mode
    def test_a_campaign_that_failed_skips_where_a_failure_shall_be_soft(
        self, run: Callable[..., Outcome], server: Server, mode: dict[str, Any]
    ) -> None:
        server.will_answer({"TargetGroupID": 15, "Status": "failed", "Error": None})
        outcome = run(mode | {"campaign_id": 221, "soft_fail": True})
        assert (outcome.state, outcome.tries) == ("skipped", 1)

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
            outcome = run({"target_date": "2024-11-20", "deferrable": True, "poke_interval": 0.5})
            day.join(1)
        assert outcome == Outcome("success", 1, "2024-11-20", None)
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
    campaign = {"optimove_conn_id", "campaign_id", "channel_id", "allowed_states", "failed_states"}
    assert set(OptimoveCampaignSensor.template_fields) == campaign
    assert set(OptimoveLastDataUpdateSensor.template_fields) == {"optimove_conn_id", "target_date", "timezone"}
