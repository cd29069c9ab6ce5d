"""Example DAGs in a real Airflow, copied unchanged into the dags folder; also as an event of Optimove's starts them."""

from __future__ import annotations

import datetime
import importlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS

from airflow_provider_optimove.assets.events import OptimoveEvent, asset_of, key_of
from tests.conftest import DagRunResult

EXAMPLES = Path(__file__).parents[2] / "example_dags"
ON_EVENTS = pytest.mark.skipif(not AIRFLOW_V_3_0_PLUS, reason="events start DAGs on Airflow 3 only")


def started_by(event_type: int, payload: dict[str, Any], get_or_create: Any) -> Any:
    """What makes a DAG run that an event has started, recorded as the event listener does."""
    from airflow.models.asset import AssetEvent, AssetModel

    def get_or_create_dagrun(**arguments: Any) -> Any:
        dag_run, session = get_or_create(**arguments), arguments["session"]
        name, _ = asset_of(event_type, "optimove_default")
        asset = session.query(AssetModel).filter_by(name=name).one()
        key = key_of(OptimoveEvent.from_payload(payload, event_type))
        extra = {"event_type": event_type, "key": key, "payload": payload}
        event = AssetEvent(asset_id=asset.id, extra=extra, timestamp=datetime.datetime.now(datetime.UTC))
        dag_run.consumed_asset_events.append(event)
        session.commit()
        return dag_run

    return get_or_create_dagrun


@pytest.fixture
def run_example(airflow_db: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., DagRunResult]]:
    """Runs a DAG of an example file by hand, with ``conf``, or as an ``event`` (type and payload) starts it."""
    bags = importlib.import_module("airflow.dag_processing.dagbag" if AIRFLOW_V_3_0_PLUS else "airflow.models.dagbag")
    written: list[Path] = []

    def run(
        file: str, dag_id: str, *, conf: dict[str, Any] | None = None, event: tuple[int, dict[str, Any]] | None = None
    ) -> DagRunResult:
        dag_file = airflow_db.parent / "dags" / f"example_{len(written)}_{os.getpid()}.py"
        written.append(dag_file)
        dag_file.write_text((EXAMPLES / file).read_text())
        bag = bags.DagBag(str(dag_file))
        assert not bag.import_errors, bag.import_errors
        dag = bag.dags[dag_id]
        for task in dag.tasks:
            task.retry_delay = datetime.timedelta(0)
        with monkeypatch.context() as patched:
            if event is not None:
                dagrun = importlib.import_module("airflow.models.dagrun")
                patched.setattr(dagrun, "get_or_create_dagrun", started_by(*event, dagrun.get_or_create_dagrun))
                # A run that an event starts has none.
                return DagRunResult(dag_id, dag.test(run_conf=conf, logical_date=None))
            return DagRunResult(dag_id, dag.test(run_conf=conf))

    yield run
    for dag_file in written:
        dag_file.unlink(missing_ok=True)
