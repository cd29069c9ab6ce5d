"""The trigger in an event loop, with a real Airflow connection and a client that answers by script."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowNotFoundException
from airflow.triggers.base import BaseTrigger

from airflow_provider_optimove import exceptions
from airflow_provider_optimove.exceptions import OptimoveError, OptimoveServerError
from airflow_provider_optimove.sensors.waits import campaign_wait
from airflow_provider_optimove.triggers import optimove as module
from airflow_provider_optimove.triggers import shared_poll
from airflow_provider_optimove.triggers.events import PERMANENT_ERRORS, success_event
from airflow_provider_optimove.triggers.optimove import OptimoveCampaignTrigger, OptimoveLastDataUpdateTrigger
from tests.triggers.conftest import Lines

SECRET = "not-a-real-api-key"
BEFORE, TARGET, AFTER = date(2024, 11, 19), date(2024, 11, 20), date(2024, 11, 21)
CLASS_PATH = "airflow_provider_optimove.triggers.optimove.OptimoveLastDataUpdateTrigger"


class ScriptedClient:
    """Answers GetLastDataUpdate with the steps of a script, and with the last one from then on."""

    def __init__(self) -> None:
        self.script: list[Any] = [TARGET]
        self.campaign: Any = None
        self.called_at: list[float] = []
        self.threads: set[int] = set()
        self.built_from: list[Any] = []
        self.closed = 0
        self.settings = "as in the connection"

    def get_last_data_update(self) -> date:
        self.called_at.append(time.monotonic())
        self.threads.add(threading.get_ident())
        step = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if callable(step):
            step = step()
        if isinstance(step, BaseException):
            raise step
        assert isinstance(step, date)
        return step

    def get_campaign_details(self, *, campaign_id: int) -> Any:
        return self.campaign

    def get_executed_campaign_channel_details(self, *, campaign_id: int, channel_id: int) -> Any:
        return self.campaign

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> ScriptedClient:
    client = ScriptedClient()

    def build(connection: Any) -> ScriptedClient:
        client.threads.add(threading.get_ident())
        client.built_from.append(connection)
        return client

    monkeypatch.setattr(shared_poll, "_client_from", build)
    connection = {"conn_type": "optimove", "host": "http://127.0.0.1:9", "password": SECRET}
    monkeypatch.setenv("AIRFLOW_CONN_OPTIMOVE_TEST", json.dumps(connection))
    return client


@pytest.fixture
def log(record_log: Callable[..., Lines]) -> Lines:
    return record_log(OptimoveLastDataUpdateTrigger, shared_poll)


def trigger(poll_interval: float = 0.01, target_date: str = "2024-11-20", conn: str = "optimove_test") -> Any:
    return OptimoveLastDataUpdateTrigger(optimove_conn_id=conn, target_date=target_date, poll_interval=poll_interval)


def event_of(trigger: BaseTrigger) -> Any:
    async def all_events() -> list[Any]:
        return [event async for event in trigger.run()]

    (event,) = asyncio.run(asyncio.wait_for(all_events(), 10))
    return json.loads(json.dumps(event.payload))


def test_a_triggerer_can_build_it_again_from_json() -> None:
    path, arguments = trigger(poll_interval=30.0).serialize()
    assert path == CLASS_PATH
    assert arguments == {
        "optimove_conn_id": "optimove_test",
        "target_date": "2024-11-20",
        "poll_interval": 30.0,
        "timezone": None,
    }
    package, _, name = path.rpartition(".")
    assert package == module.__name__
    again = getattr(module, name)(**json.loads(json.dumps(arguments)))
    assert again.serialize() == (path, arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        {"campaign_id": 221},
        {"campaign_id": 221, "channel_id": 504, "poll_interval": 5.0},
        {"campaign_id": 221, "allowed_states": ["Successful", "Partially Run"], "failed_states": []},
    ],
)
def test_a_campaign_trigger_is_built_again_from_json(arguments: dict[str, Any]) -> None:
    waiting = OptimoveCampaignTrigger(optimove_conn_id="optimove_test", **arguments)
    path, told = json.loads(json.dumps(waiting.serialize()))
    assert path == f"{module.__name__}.OptimoveCampaignTrigger"
    assert arguments.items() <= told.items()
    assert OptimoveCampaignTrigger(**told).serialize() == waiting.serialize()


@pytest.mark.parametrize(
    ("arguments", "value"),
    [
        ({}, {"Status": "Successful", "Error": None}),
        ({"channel_id": 504}, [{"SendID": "S1", "ScheduledTime": "2024-11-20 08:00:00"}]),
    ],
)
def test_a_campaign_that_is_there_ends_the_wait(client: ScriptedClient, arguments: Any, value: Any) -> None:
    client.campaign = value
    event = event_of(OptimoveCampaignTrigger("optimove_test", 221, **arguments))
    assert (event["status"], event["value"]) == ("success", value)
    assert campaign_wait(**event["waited_for"]) == campaign_wait(221, **arguments)
    assert client.closed == 1


def test_a_campaign_that_failed_ends_the_wait(client: ScriptedClient) -> None:
    client.campaign = {"Status": "Failed", "Error": "No template"}
    event = event_of(OptimoveCampaignTrigger("optimove_test", 221))
    assert (event["status"], event["error"]) == ("error", "OptimoveCampaignFailedError")
    assert "No template" in event["message"]


def test_a_campaign_that_is_none_ends_the_wait(client: ScriptedClient) -> None:
    event = event_of(OptimoveCampaignTrigger("optimove_test", "the newest"))  # type: ignore[arg-type]
    assert (event["status"], event["error"]) == ("error", "OptimoveInputError")


@pytest.mark.parametrize("found", [TARGET, AFTER])
def test_data_that_is_there_ends_the_wait_at_once(client: ScriptedClient, found: date) -> None:
    client.script = [found]
    assert event_of(trigger()) == success_event(found.isoformat(), {"target_date": "2024-11-20"})
    assert len(client.called_at) == client.closed == 1


def test_it_waits_for_the_date_at_the_interval(client: ScriptedClient, log: list[tuple[int, str]]) -> None:
    client.script = [BEFORE, BEFORE, TARGET]
    assert event_of(trigger(poll_interval=0.2)) == success_event("2024-11-20", {"target_date": "2024-11-20"})
    first, second, third = client.called_at
    assert 0.2 <= second - first < 1.0
    assert 0.2 <= third - second < 1.0
    assert [line for _, line in log] == [
        "GetLastDataUpdate: 2024-11-19, waiting for data of 2024-11-20",
    ]
    assert len(client.built_from) == 1


@pytest.mark.parametrize(
    "error_class",
    [OptimoveError, OptimoveServerError, exceptions.OptimoveRateLimitError, exceptions.OptimoveResponseError],
)
def test_errors_that_may_pass_are_ridden_out_and_counted(
    client: ScriptedClient, log: list[tuple[int, str]], error_class: type[OptimoveError]
) -> None:
    error = error_class("try later", function="GetLastDataUpdate", status=503)
    client.script = [error, error, BEFORE, error, TARGET]
    assert event_of(trigger()) == success_event("2024-11-20", {"target_date": "2024-11-20"})
    assert len(client.called_at) == 5
    warnings = [line for level, line in log if level == logging.WARNING]
    expected = "No answer for 1 who wait, {} failures in a row: GetLastDataUpdate: try later (HTTP 503)"
    assert warnings == [expected.format(failures) for failures in (1, 2, 1)]


@pytest.mark.parametrize("error_class", PERMANENT_ERRORS)
def test_errors_that_stay_end_the_wait(
    client: ScriptedClient, log: list[tuple[int, str]], error_class: type[OptimoveError]
) -> None:
    error = error_class("never", function="GetLastDataUpdate")
    error.status = 499
    client.script = [BEFORE, error, TARGET]
    assert event_of(trigger()) == {
        "status": "error",
        "error": error_class.__name__,
        "message": "never",
        "function": "GetLastDataUpdate",
        "status_code": 499,
    }
    assert len(client.called_at) == 2
    assert client.closed == 1
    assert [level for level, _ in log] == [logging.INFO, logging.ERROR]


def test_a_target_date_that_is_none_ends_the_wait(client: ScriptedClient) -> None:
    event = event_of(trigger(target_date="tomorrow"))
    assert (event["status"], event["error"]) == ("error", "OptimoveInputError")
    assert "target_date" in event["message"]
    assert client.called_at == []


def test_a_connection_that_is_not_defined_is_left_to_a_retry(
    client: ScriptedClient, log: list[tuple[int, str]]
) -> None:
    """Airflow says the same of a secrets backend that does not answer; a trigger that raises is retried."""
    with pytest.raises(AirflowNotFoundException, match=r"'optimove_nowhere' is not defined.* define it, or see why"):
        event_of(trigger(conn="optimove_nowhere"))
    assert [level for level, _ in log] == [logging.WARNING] * 3


def test_a_secrets_backend_may_fail_for_a_moment(client: ScriptedClient, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.providers.common.compat import connection as compat

    read: Callable[[str], Any] = compat.get_async_connection
    lookups: list[str] = []

    async def flaky(conn_id: str) -> Any:
        lookups.append(conn_id)
        if len(lookups) < 8:
            raise AirflowNotFoundException(f"The conn_id `{conn_id}` isn't defined")
        return await read(conn_id)

    monkeypatch.setattr(compat, "get_async_connection", flaky)
    assert event_of(trigger()) == success_event("2024-11-20", {"target_date": "2024-11-20"})
    assert lookups == ["optimove_test"] * 8


def test_a_connection_that_is_not_valid_ends_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_OPTIMOVE_TEST", json.dumps({"conn_type": "optimove", "password": SECRET}))
    event = event_of(trigger())
    assert (event["status"], event["error"]) == ("error", "OptimoveInputError")
    assert "host" in event["message"]
    assert SECRET not in str(event)


def test_the_client_comes_from_the_connection_and_its_secret_stays_there(client: ScriptedClient) -> None:
    waiting = trigger()
    event = event_of(waiting)
    assert [connection.password for connection in client.built_from] == [SECRET]
    assert SECRET not in f"{waiting!r} {waiting.serialize()} {event}"


def test_what_is_no_error_of_optimove_is_not_swallowed(client: ScriptedClient) -> None:
    client.script = [ZeroDivisionError()]
    with pytest.raises(ZeroDivisionError):
        event_of(trigger())
    assert client.closed == 1


def test_the_event_loop_is_not_blocked(client: ScriptedClient) -> None:
    def slowly() -> date:
        time.sleep(0.6)
        return TARGET

    async def longest_gap() -> float:
        client.threads.add(-1)
        waiting = asyncio.create_task(anext(trigger().run()))
        gaps = []
        while not waiting.done():
            before = time.monotonic()
            await asyncio.sleep(0.01)
            gaps.append(time.monotonic() - before)
        assert (await waiting).payload["status"] == "success"
        return max(gaps)

    client.script = [slowly]
    assert asyncio.run(longest_gap()) < 0.4
    assert threading.get_ident() not in client.threads


@pytest.mark.parametrize("where", ["in a call", "between calls"])
def test_cancelling_ends_it_at_once(client: ScriptedClient, where: str) -> None:
    answered, started = threading.Event(), threading.Event()

    def hanging() -> date:
        started.set()
        answered.wait(10)
        return BEFORE

    def quick() -> date:
        started.set()
        return BEFORE

    async def cancel() -> float:
        async def consume() -> None:
            async for _ in trigger(poll_interval=60).run():
                pass

        task = asyncio.create_task(consume())
        while not started.is_set():
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        before = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        took = time.monotonic() - before
        answered.set()
        return took

    client.script = [hanging if where == "in a call" else quick]
    assert asyncio.run(cancel()) < 1.0
    assert client.closed == 1
    assert len(client.called_at) == 1
