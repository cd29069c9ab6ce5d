"""A worker is killed amid opt-ins, and Airflow's own retry goes on: everybody once."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from airflow_provider_optimove.clients.sessionm.opt_ins import STRETCH
from airflow_provider_optimove.sandbox import SessionMSandbox
from tests.durability.conftest import TASK, free_port

if TYPE_CHECKING:
    from tests.durability.conftest import LiveAirflow

KILLED_IN_CALL = STRETCH + 21
# Everybody but those whom SessionM refuses.
CUSTOMERS = [f"C{number:07}" for number in range(166) if number % 10 != 9]
FOREVER = 3600.0

DAG = f"""
import datetime

from airflow.sdk import DAG

from airflow_provider_optimove.operators.sessionm import SessionMOptInOperator

with DAG("opt_ins", schedule=None):
    SessionMOptInOperator(
        task_id={TASK!r},
        campaign_id=1,
        external_ids={CUSTOMERS!r},
        results_path="RESULTS",
        retries=1,
        retry_delay=datetime.timedelta(0),
    )
"""


@pytest.fixture(scope="module")
def sessionm() -> Iterator[SessionMSandbox]:
    with SessionMSandbox(port=free_port()) as running:
        yield running


@pytest.fixture(scope="module")
def airflow_settings(sessionm: SessionMSandbox) -> dict[str, str]:
    return {"AIRFLOW_CONN_SESSIONM_DEFAULT": sessionm.connection}


def test_a_killed_worker_opts_nobody_in_twice(airflow: LiveAirflow, sessionm: SessionMSandbox, tmp_path: Path) -> None:
    results = tmp_path / "results.jsonl"
    sessionm.fail("opt_in", after=KILLED_IN_CALL - 1, delay=FOREVER, drop="before")
    airflow.add_dags(DAG.replace("RESULTS", str(results)), "opt_ins")
    run = airflow.run("opt_ins")
    run.reaches("the call that never ends", lambda: not sessionm.faults.pending)
    assert len(sessionm.opt_ins) == KILLED_IN_CALL - 1

    # Airflow's process first: it would report the death of the other.
    for process in [run.process("worker"), run.process("task")]:
        process.kill()

    assert run.ended() == "success"
    assert run.task.try_number == 2
    assert f"{STRETCH} customers, rows {STRETCH + 1} to {2 * STRETCH}" in run.log(2)
    by_id = {customer.user_id: customer.external_id for customer in sessionm.customers}
    assert Counter(by_id[opt_in.user_id] for opt_in in sessionm.opt_ins) == Counter(CUSTOMERS)
    assert [call.function for call in sessionm.calls].count("progress") == STRETCH
    assert (run.xcom["opted_in"], run.xcom["resumed"]) == (len(CUSTOMERS), STRETCH)
    lines = [json.loads(line) for line in results.read_text().splitlines()]
    assert [line["external_id"] for line in lines] == CUSTOMERS
    assert [line["result"] for line in lines].count("was_opted_in") == KILLED_IN_CALL - 1 - STRETCH
    assert run.state_store == {}
