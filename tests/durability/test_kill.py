"""A task dies while it sends, and Airflow's own retry goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_optimove.sandbox import OptimoveSandbox

if TYPE_CHECKING:
    from tests.durability.conftest import LiveAirflow, Run

ROWS = 100
BATCH = 5
FOREVER = 3600.0

PROMOTIONS: dict[str, Any] = {
    "operator": "OptimoveAddPromotionsOperator",
    "promotions": [{"PromoCode": f"P{n}", "PromotionName": f"Promotion {n}"} for n in range(1, ROWS + 1)],
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


@pytest.mark.parametrize("victims", [("task",), ("worker", "task")], ids=["task", "host"])
def test_a_killed_task_is_tried_again(airflow: LiveAirflow, sandbox: OptimoveSandbox, victims: tuple[Any, ...]) -> None:
    run = run_until_batch_7(airflow, sandbox, f"promotions_{len(victims)}", PROMOTIONS)

    # Airflow's process first: it would report the death of the other.
    for process in [run.process(victim) for victim in victims]:
        process.kill()

    assert run.ended() == "success"
    assert run.task.try_number == 2
    assert len(sandbox.promotions) == ROWS
    assert run.xcom["rows"] == ROWS
