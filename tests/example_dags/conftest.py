"""Example DAGs in a real Airflow, copied unchanged into the dags folder; also as an event of Optimove's starts them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS

from tests.conftest import DagRunResult

EXAMPLES = Path(__file__).parents[2] / "example_dags"
ON_EVENTS = pytest.mark.skipif(not AIRFLOW_V_3_0_PLUS, reason="events start DAGs on Airflow 3 only")


@pytest.fixture
def run_example(run_dag: Callable[..., DagRunResult]) -> Callable[..., DagRunResult]:
    """Runs a DAG of an example file by hand, with ``conf``, or as an ``event`` (type and payload) starts it."""

    def run(file: str, dag_id: str, **how: Any) -> DagRunResult:
        return run_dag((EXAMPLES / file).read_text(), dag_id=dag_id, **how)

    return run
