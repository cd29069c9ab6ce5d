"""A task dies while it sends, and Airflow's own retry goes on."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_optimove.sandbox import OptimoveSandbox

if TYPE_CHECKING:
    from tests.durability.conftest import LiveAirflow, Run

ROWS = 100
BATCH = 5
CONFIRMED = 6 * BATCH
FOREVER = 3600.0

PROMOTIONS: dict[str, Any] = {
    "operator": "OptimoveAddPromotionsOperator",
    "promotions": [{"PromoCode": f"P{n}", "PromotionName": f"Promotion {n}"} for n in range(1, ROWS + 1)],
    "batch_size": BATCH,
    "retries": 2,
}
INTERACTIONS: dict[str, Any] = {
    "operator": "OptimoveUpdateCampaignInteractionsOperator",
    "campaign_id": 221,
    "channel_id": 3,
    "interaction_date": "2026-11-20",
    "template_id": 7,
    "event_id": "opened",
    "customer_ids": [f"C{n}" for n in range(1, ROWS + 1)],
    "batch_size": BATCH,
    "retries": 2,
}


def run_until_batch_7(
    airflow: LiveAirflow, sandbox: OptimoveSandbox, dag_id: str, arguments: dict[str, Any], **fault: Any
) -> Run:
    """A run whose seventh call has arrived; if nothing else is said, that call has no effect and no answer."""
    what = fault or {"delay": FOREVER, "drop": "before"}
    sandbox.fail(None, after=6, times=1, **what)
    run = airflow.start_run(dag_id, **arguments)
    run.reaches("the seventh call", lambda: not sandbox.faults.pending)
    return run


def deliveries(sandbox: OptimoveSandbox) -> Counter[int]:
    """How often the interaction of each row arrived, by row number."""
    return Counter(int(customer[1:]) for told in sandbox.interactions for customer in told["CustomerIDs"])


def each_once(first: int, last: int) -> Counter[int]:
    return Counter(range(first, last + 1))


@pytest.mark.parametrize("victims", [("task",), ("worker", "task")], ids=["task", "host"])
def test_a_harmless_function_goes_on_after_the_last_confirmed_batch(
    airflow: LiveAirflow, sandbox: OptimoveSandbox, victims: tuple[Any, ...]
) -> None:
    run = run_until_batch_7(airflow, sandbox, f"promotions_{len(victims)}", PROMOTIONS)

    # Airflow's process first: it would report the death of the other.
    for process in [run.process(victim) for victim in victims]:
        process.kill()

    assert run.ended() == "success"
    assert run.task.try_number == 2
    assert len(sandbox.promotions) == ROWS
    assert [call.rows for call in sandbox.calls] == [BATCH] * 20
    assert run.xcom["rows"] == ROWS
    assert run.xcom["resumed_rows"] == CONFIRMED
    assert run.state_store == {}

    # What is noted of a task that has ended is for its retries.
    run.clear()
    assert run.ended() == "success"
    assert [call.rows for call in sandbox.calls] == [BATCH] * 40
    assert run.xcom["resumed_rows"] == 0


def test_a_function_that_must_not_be_repeated_stops_and_names_the_rows(
    airflow: LiveAirflow, sandbox: OptimoveSandbox
) -> None:
    run = run_until_batch_7(airflow, sandbox, "interactions", INTERACTIONS)

    run.process("task").kill()

    assert run.ended() == "failed"
    # One more was allowed.
    assert (run.task.try_number, run.task.max_tries) == (2, 2)
    assert "OptimoveUncertainWriteError" in run.log(2)
    assert "31 to 35" in run.log(2)
    assert deliveries(sandbox) == each_once(1, CONFIRMED)
    assert "optimove_write" in run.state_store

    # Whoever has looked can go on from there.
    airflow.give("interactions", **INTERACTIONS, on_uncertain="resend")
    run.clear()

    assert run.ended() == "success"
    assert deliveries(sandbox) == each_once(1, ROWS)
    assert run.xcom["resumed_rows"] == CONFIRMED
    assert run.state_store == {}


def test_it_is_repeated_where_that_was_said(airflow: LiveAirflow, sandbox: OptimoveSandbox) -> None:
    arguments = {**INTERACTIONS, "on_uncertain": "resend"}
    run = run_until_batch_7(airflow, sandbox, "interactions_resent", arguments)

    run.process("task").kill()

    assert run.ended() == "success"
    assert run.task.try_number == 2
    assert deliveries(sandbox) == each_once(1, ROWS)
    assert run.xcom["resumed_rows"] == CONFIRMED
    assert run.state_store == {}


def test_a_task_that_was_given_up_sends_no_further_batch(airflow: LiveAirflow, sandbox: OptimoveSandbox) -> None:
    run = run_until_batch_7(airflow, sandbox, "interactions_frozen", INTERACTIONS, delay=10)
    worker, task = run.process("worker"), run.process("task")

    # As with a host that freezes: the answer is there, nobody reads it.
    worker.suspend()
    task.suspend()
    assert run.ended() == "failed"
    assert "OptimoveUncertainWriteError" in run.log(2)
    worker.resume()
    task.resume()
    task.wait(timeout=180)

    assert [call.status for call in sandbox.calls] == [200] * 7
    assert deliveries(sandbox) == each_once(1, CONFIRMED + BATCH)


def test_a_cleared_task_sends_everything_again(airflow: LiveAirflow, sandbox: OptimoveSandbox) -> None:
    run = airflow.start_run("interactions_cleared", **INTERACTIONS)
    assert run.ended() == "success"
    assert deliveries(sandbox) == each_once(1, ROWS)

    run.clear()

    assert run.ended() == "success"
    assert run.task.try_number == 2
    assert deliveries(sandbox) == each_once(1, ROWS) + each_once(1, ROWS)
    assert run.xcom["resumed_rows"] == 0


def test_a_changed_input_starts_over(airflow: LiveAirflow, sandbox: OptimoveSandbox) -> None:
    run = run_until_batch_7(airflow, sandbox, "promotions_replaced", PROMOTIONS)

    changed = [{"PromoCode": f"N{n}", "PromotionName": f"New {n}"} for n in range(1, ROWS + 1)]
    airflow.give("promotions_replaced", **{**PROMOTIONS, "promotions": changed})
    run.process("task").kill()

    assert run.ended() == "success"
    assert run.xcom["resumed_rows"] == 0
    assert len(sandbox.promotions) == CONFIRMED + ROWS
    assert "are not those of the earlier try" in run.log(2)
    assert run.state_store == {}


def test_a_changed_input_of_a_function_that_must_not_be_repeated_stops(
    airflow: LiveAirflow, sandbox: OptimoveSandbox
) -> None:
    run = run_until_batch_7(airflow, sandbox, "interactions_changed", INTERACTIONS)

    airflow.give("interactions_changed", **{**INTERACTIONS, "customer_ids": [f"C{n}" for n in range(1, ROWS)]})
    run.process("task").kill()

    assert run.ended() == "failed"
    assert run.task.try_number == 2
    assert "OptimoveUncertainWriteError" in run.log(2)
    assert "are not those of the earlier try" in run.log(2)
    assert deliveries(sandbox) == each_once(1, CONFIRMED)
