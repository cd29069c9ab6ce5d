"""How long the progress of a write counts: also for retries behind a task that was done, but not over clearing."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_3_PLUS

from airflow_provider_optimove.exceptions import OptimoveError, OptimoveUncertainWriteError
from airflow_provider_optimove.operators.optimove import OptimoveUpdateCampaignMetricsOperator
from airflow_provider_optimove.operators.task_journal import FINISHED_BY, NEVER_EXPIRE, TaskJournal, journal_of
from airflow_provider_optimove.sandbox import NetmeraSandbox, OptimoveSandbox, SessionMSandbox

pytest_plugins = ["airflow_provider_optimove.sandbox.pytest_plugin"]

KEY = "a_write"
PROGRESS = {"fingerprint": "f", "done": 3}


class Store:
    """Airflow's task state, as far as it is used."""

    def __init__(self) -> None:
        self.kept: dict[str, Any] = {}
        self.retentions: list[Any] = []

    def get(self, key: str) -> Any:
        return self.kept.get(key)

    def set(self, key: str, value: Any, *, retention: Any) -> None:
        self.kept[key] = value
        self.retentions.append(retention)

    def delete(self, key: str) -> None:
        self.kept.pop(key, None)


def journal(store: Store, *, try_number: int, max_tries: Any, retries: Any = 2) -> TaskJournal:
    task_instance = SimpleNamespace(try_number=try_number, max_tries=max_tries, task=SimpleNamespace(retries=retries))
    context: Any = {"task_state_store": store, "ti": task_instance}
    found = journal_of(context, KEY)
    assert found is not None
    return found


def finished(**tries: Any) -> Store:
    """What a try leaves that did all."""
    store = Store()
    kept = journal(store, **tries)
    kept.save(PROGRESS)
    kept.finish()
    return store


def test_without_task_state_there_is_no_journal() -> None:
    context: Any = {"ti": SimpleNamespace(try_number=1)}
    assert journal_of(context, KEY) is None


@pytest.mark.parametrize("max_tries", [2, 3])
def test_what_was_saved_counts_for_every_later_try(max_tries: int) -> None:
    store = Store()
    journal(store, try_number=1, max_tries=2).save(PROGRESS)
    assert journal(store, try_number=2, max_tries=max_tries).load() == PROGRESS
    assert store.retentions == [NEVER_EXPIRE]


@pytest.mark.parametrize(("first", "max_tries"), [(1, 2), (2, 2), (4, 5), (5, 5)])
def test_what_is_done_counts_for_retries(first: int, max_tries: int) -> None:
    store = finished(try_number=first, max_tries=max_tries)
    # In time, nobody will ask for it any more.
    assert store.retentions[-1] < NEVER_EXPIRE
    assert journal(store, try_number=first + 1, max_tries=max_tries).load() == PROGRESS


@pytest.mark.parametrize("finishing_try", [1, 2, 3])
@pytest.mark.parametrize("retries_before", [0, 1, 2])
@pytest.mark.parametrize("retries_then", [0, 1, 2, 5])
def test_what_is_done_does_not_count_when_the_task_is_cleared(
    finishing_try: int, retries_before: int, retries_then: int
) -> None:
    store = finished(try_number=finishing_try, max_tries=retries_before, retries=retries_before)
    # As Airflow's clear_task_instances does it.
    max_tries = finishing_try + retries_then
    for try_number in range(finishing_try + 1, max_tries + 2):
        cleared = journal(store, try_number=try_number, max_tries=max_tries, retries=retries_then)
        assert cleared.load() is None


def test_a_retry_behind_a_retry() -> None:
    store = finished(try_number=1, max_tries=2)
    second = journal(store, try_number=2, max_tries=2)
    assert second.load() == PROGRESS
    second.finish()
    assert journal(store, try_number=3, max_tries=4).load() is None
    assert journal(store, try_number=3, max_tries=2).load() == PROGRESS


def test_what_is_done_outlives_a_retry_that_fails() -> None:
    store = finished(try_number=1, max_tries=2)
    assert journal(store, try_number=2, max_tries=2).load() == PROGRESS
    assert store.retentions[-1] == NEVER_EXPIRE
    # Without an end, and cleared.
    assert journal(store, try_number=3, max_tries=4).load() == PROGRESS


def test_what_is_done_outlives_a_task_that_is_tried_no_more() -> None:
    store = finished(try_number=3, max_tries=2)
    journal(store, try_number=3, max_tries=2).reopen()
    assert store.retentions[-1] == NEVER_EXPIRE
    assert journal(store, try_number=4, max_tries=5).load() == PROGRESS
    writes = len(store.retentions)
    for what in (store, Store()):
        journal(what, try_number=4, max_tries=5).reopen()
    assert len(store.retentions) == writes


def test_a_cleared_task_leaves_what_it_did_itself() -> None:
    store = finished(try_number=1, max_tries=2)
    cleared = journal(store, try_number=2, max_tries=3)
    assert cleared.load() is None
    cleared.save({"done": 1})
    assert cleared.load() == {"done": 1}
    cleared.finish()
    assert journal(store, try_number=3, max_tries=3).load() == {"done": 1}


def test_nothing_is_left_of_a_task_that_saved_nothing() -> None:
    store = Store()
    journal(store, try_number=1, max_tries=2).finish()
    assert store.kept == {}


@pytest.mark.parametrize(("max_tries", "retries"), [(None, 2), (2, None), (object(), 2)])
def test_where_the_tries_are_not_known_what_is_done_is_forgotten(max_tries: Any, retries: Any) -> None:
    assert finished(try_number=1, max_tries=max_tries, retries=retries).kept == {}


class Metrics:
    """A task whose rows may count twice, and its tries."""

    def __init__(self) -> None:
        self.store = Store()
        self.tries = 0
        self.most_tries = 1

    def run(self, *values: int, fails_behind: bool = False, **arguments: Any) -> Any:
        row = {"ChannelID": 504, "CampaignID": 221, "TemplateID": 7, "MetricID": 2}
        self.tries += 1
        operator = OptimoveUpdateCampaignMetricsOperator(
            task_id="t", metrics=[{**row, "MetricValue": value} for value in values], **arguments
        )
        task = SimpleNamespace(retries=1)
        task_instance = SimpleNamespace(try_number=self.tries, max_tries=self.most_tries, task=task)
        context: Any = {"ti": task_instance, "task_state_store": self.store}
        result = operator.execute(context)
        if fails_behind and self.tries > self.most_tries:
            # As Airflow does where no retry is left.
            assert operator.on_failure_callback
            for callback in operator.on_failure_callback:
                callback(context)
        return result

    def clear(self) -> None:
        self.most_tries = self.tries + 1


@pytest.mark.parametrize("durable", [True, False])
def test_a_doubt_behind_what_is_done_outlives_clearing(optimove_sandbox: OptimoveSandbox, durable: bool) -> None:
    task = Metrics()
    task.run(1, 2, durable=durable, fails_behind=True)
    with pytest.raises(OptimoveUncertainWriteError):
        task.run(3, durable=durable)
    task.clear()
    with pytest.raises(OptimoveUncertainWriteError):
        task.run(3)
    if durable:
        assert task.run(1, 2)["resumed_rows"] == 2
    else:
        with pytest.raises(OptimoveUncertainWriteError):
            task.run(1, 2)
    assert [call.rows for call in optimove_sandbox.calls_of("UpdateCampaignMetrics")] == [2]


def test_what_is_done_is_not_done_again_where_airflow_fails_behind_the_last_try(
    optimove_sandbox: OptimoveSandbox,
) -> None:
    task = Metrics()
    task.tries = 1
    task.run(1, 2, fails_behind=True)
    task.clear()
    assert task.run(1, 2)["resumed_rows"] == 2
    assert [call.rows for call in optimove_sandbox.calls_of("UpdateCampaignMetrics")] == [2]
    # It has succeeded now.
    task.clear()
    assert task.run(1, 2)["resumed_rows"] == 0


def test_a_note_of_the_end_whose_answer_is_lost(
    optimove_sandbox: OptimoveSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = Metrics()
    finish = TaskJournal.finish

    def away(self: TaskJournal) -> None:
        finish(self)
        raise ConnectionError("no API server")

    with monkeypatch.context() as patch:
        patch.setattr(TaskJournal, "finish", away)
        with pytest.raises(OptimoveError, match=r"could not be recorded.*2 of 2 rows were accepted"):
            task.run(1, 2)
    assert task.run(1, 2)["resumed_rows"] == 2


@pytest.mark.skipif(not AIRFLOW_V_3_3_PLUS, reason="about Airflow's task state, which 3.3 has")
def test_failure_callbacks_of_the_dag_are_kept(optimove_sandbox: OptimoveSandbox) -> None:
    called: list[str] = []
    task = Metrics()
    task.tries = 1
    task.run(1, fails_behind=True, on_failure_callback=lambda context: called.append("mine"))
    assert called == ["mine"]
    assert FINISHED_BY not in task.store.kept["optimove_write"]


DAG = """
import datetime
import pendulum
from airflow.providers.common.compat.sdk import DAG
from airflow_provider_optimove.operators.netmera import NetmeraPushEventOperator
from airflow_provider_optimove.operators.optimove import OptimoveUpdateCampaignMetricsOperator
from airflow_provider_optimove.operators.sessionm import SessionMCreateCampaignOperator, SessionMOptInOperator


def failing_behind(operator):
    class Failing(operator):
        # As an XCom backend may fail, or the connection to Airflow's API server.
        def post_execute(self, context, result=None):
            if context["ti"].try_number <= {failures}:
                raise RuntimeError("behind the write")

    return Failing


with DAG("behind", start_date=pendulum.datetime(2026, 1, 1, tz="UTC"), schedule=None, default_args={{"retries": 1}}):
    failing_behind(NetmeraPushEventOperator)(task_id="push", event_type=13, campaign_id=221, channel_id=459)
    failing_behind(OptimoveUpdateCampaignMetricsOperator)(
        task_id="metrics",
        metrics=[
            {{"ChannelID": 504, "CampaignID": 221, "TemplateID": n, "MetricID": 2, "MetricValue": 1}} for n in (7, 8, 9)
        ],
        batch_size=2,
    )
    failing_behind(SessionMOptInOperator)(
        task_id="opt_in", campaign_id=1, external_ids={customers!r}, on_uncertain="fail"
    )
    failing_behind(SessionMCreateCampaignOperator)(
        task_id="create",
        campaign={{
            "name": "Winter", "status": "live", "starts_at": "2026-12-01T00:00:00Z", "ends_at": "2027-01-01T00:00:00Z"
        }},
    )
"""


@pytest.fixture
def failing_behind(sessionm_sandbox: SessionMSandbox, run_dag: Callable[..., Any]) -> Callable[[int], Any]:
    """Runs four writes, behind whose first tries Airflow fails."""
    customers = [customer.external_id for customer in sessionm_sandbox.customers[:3]]
    return lambda failures: run_dag(DAG.format(customers=customers, failures=failures))


@pytest.mark.skipif(not AIRFLOW_V_3_3_PLUS, reason="about Airflow's task state, which 3.3 has")
def test_airflow_fails_behind_a_write_and_nothing_is_written_twice(
    optimove_sandbox: OptimoveSandbox,
    netmera_sandbox: NetmeraSandbox,
    sessionm_sandbox: SessionMSandbox,
    failing_behind: Callable[[int], Any],
) -> None:
    run = failing_behind(1)
    assert set(run.states.values()) == {"success"}
    assert {instance.try_number for instance in run.task_instances} == {2}
    assert len(netmera_sandbox.pushes) == 1
    assert [call.rows for call in optimove_sandbox.calls_of("UpdateCampaignMetrics")] == [2, 1]
    assert len(sessionm_sandbox.calls_of("opt_in")) == 3
    assert len(sessionm_sandbox.calls_of("create_campaign")) == 1
    # What a try returned that Airflow did not take, its retry returns.
    assert run.xcom("push")["pushed"][0]["campaign_id"] == 221
    assert run.xcom("metrics")["rows"] == run.xcom("metrics")["resumed_rows"] == 3
    assert run.xcom("opt_in")["opted_in"] == run.xcom("opt_in")["resumed"] == 3
    assert run.xcom("create")["name"] == "Winter"


@pytest.mark.skipif(not AIRFLOW_V_3_3_PLUS, reason="about Airflow's task state, which 3.3 has")
def test_airflow_fails_behind_the_last_try_and_what_was_written_is_remembered(
    optimove_sandbox: OptimoveSandbox,
    netmera_sandbox: NetmeraSandbox,
    sessionm_sandbox: SessionMSandbox,
    failing_behind: Callable[[int], Any],
) -> None:
    from airflow.models.task_state_store import TaskStateStoreModel
    from airflow.utils.session import create_session

    run = failing_behind(2)
    assert set(run.states.values()) == {"failed"}
    assert len(netmera_sandbox.pushes) == len(sessionm_sandbox.created) == len(optimove_sandbox.metrics) - 2 == 1
    with create_session() as session:
        found = session.query(TaskStateStoreModel).filter_by(run_id=run.run_id).all()
        kept = {record.key: (json.loads(record.value), record.expires_at) for record in found}
    assert set(kept) == {"netmera_push", "optimove_write", "sessionm_opt_in", "sessionm_create_campaign"}
    for state, expires_at in kept.values():
        assert state["fingerprint"]
        assert expires_at is None
