"""An Airflow of the tests' own: nothing of the user's is read or written."""

from __future__ import annotations

import atexit
import datetime
import importlib
import ipaddress
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

pytest_plugins = ["pytester"]

# Airflow reads its configuration when it is first imported, so this cannot wait for a fixture.
SCRATCH = Path(tempfile.mkdtemp(prefix="optimove-tests-")).resolve()
OWNER = os.getpid()

for name in [name for name in os.environ if name.startswith("AIRFLOW")]:
    del os.environ[name]
(SCRATCH / "home").mkdir()
(SCRATCH / "airflow" / "dags").mkdir(parents=True)
os.environ |= {
    "HOME": str(SCRATCH / "home"),
    "XDG_CACHE_HOME": str(SCRATCH / "home" / ".cache"),
    "TMPDIR": str(SCRATCH),
    "NO_PROXY": "127.0.0.1,localhost",
    "no_proxy": "127.0.0.1,localhost",
    "AIRFLOW_HOME": str(SCRATCH / "airflow"),
    "AIRFLOW__CORE__DAGS_FOLDER": str(SCRATCH / "airflow" / "dags"),
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
    "AIRFLOW__DATABASE__LOAD_DEFAULT_CONNECTIONS": "False",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{SCRATCH / 'airflow' / 'airflow.db'}",
    "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
}
tempfile.tempdir = None


@atexit.register
def remove_scratch() -> None:
    # A forked child ends here too.
    if os.getpid() == OWNER:
        shutil.rmtree(SCRATCH, ignore_errors=True)


@pytest.fixture(autouse=True)
def nothing_left_of_earlier_servers() -> None:
    """A port that comes again brings neither the counted calls nor the login of an earlier test's server."""
    for file in SCRATCH.glob("airflow-provider-optimove-*/*"):
        file.unlink(missing_ok=True)


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate that nobody signed, with its key: of this machine, and of a host that is none."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    names = [
        x509.DNSName("localhost"),
        x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
        x509.DNSName("optimove.invalid"),
    ]
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = tmp_path_factory.mktemp("tls") / "certificate.pem"
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.fixture(scope="session")
def airflow_home() -> Path:
    """The scratch AIRFLOW_HOME of all tests, also of the processes that they start."""
    return SCRATCH / "airflow"


@pytest.fixture(scope="session")
def airflow_db(airflow_home: Path) -> Path:
    """Airflow's metadata database, migrated; for tests that run tasks or DAGs. Made once, by the first that asks."""
    migration = subprocess.run(
        [sys.executable, "-m", "airflow", "db", "migrate"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert migration.returncode == 0, migration.stdout
    return airflow_home / "airflow.db"


class DagRunResult:
    """What became of a DAG run, read from Airflow's database."""

    def __init__(self, dag_id: str, dag_run: Any) -> None:
        self.dag_id = dag_id
        self.run_id: str = dag_run.run_id
        self.state = str(getattr(dag_run.state, "value", dag_run.state))
        self.task_instances = dag_run.get_task_instances()

    @property
    def states(self) -> dict[str, str]:
        """The state of each task; of a mapped task the state that all its instances share, else all of them."""
        found: dict[str, set[str]] = {}
        for instance in self.task_instances:
            found.setdefault(instance.task_id, set()).add(str(getattr(instance.state, "value", instance.state)))
        return {task_id: " ".join(sorted(states)) for task_id, states in found.items()}

    def rendered(self, task_id: str) -> dict[str, Any]:
        """The fields of a task (of the first instance of a mapped one) as the UI shows them."""
        from airflow.models.renderedtifields import RenderedTaskInstanceFields
        from airflow.utils.session import create_session

        with create_session() as session:
            record = (
                session.query(RenderedTaskInstanceFields)
                .filter_by(dag_id=self.dag_id, run_id=self.run_id, task_id=task_id)
                .first()
            )
            assert record is not None
            return dict(record.rendered_fields)

    def xcom(self, task_id: str, map_index: int = -1) -> Any:
        """What a task returned."""
        (instance,) = (ti for ti in self.task_instances if (ti.task_id, ti.map_index) == (task_id, map_index))
        return instance.xcom_pull(task_ids=task_id, map_indexes=map_index)


def started_by(what: int | str, payload: dict[str, Any], get_or_create: Any) -> Any:
    """What makes a DAG run that an event has started, recorded as the event listener and Airflow's triggerer do."""
    from airflow.models.asset import AssetEvent, AssetModel

    from airflow_provider_optimove.assets.events import OptimoveEvent, asset_of, key_of

    def get_or_create_dagrun(**arguments: Any) -> Any:
        dag_run, session = get_or_create(**arguments), arguments["session"]
        if isinstance(what, int):
            name, _ = asset_of(what, "optimove_default")
            key = key_of(OptimoveEvent.from_payload(payload, what))
            extra = {"event_type": what, "key": key, "payload": payload}
        else:
            name, extra = what, {"from_trigger": True, "payload": payload}
        asset = session.query(AssetModel).filter_by(name=name).one()
        event = AssetEvent(asset_id=asset.id, extra=extra, timestamp=datetime.datetime.now(datetime.UTC))
        dag_run.consumed_asset_events.append(event)
        session.commit()
        return dag_run

    return get_or_create_dagrun


@pytest.fixture
def run_dag(airflow_db: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., DagRunResult]]:
    """Runs a DAG of a DAG file's text in a real Airflow, each task in turn; the only one, or that with the ``dag_id``.

    By hand, with ``conf``, or as an ``event`` starts it: an event type of Optimove's, or the name of a watched asset,
    and the payload.
    """
    from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS

    bags = importlib.import_module("airflow.dag_processing.dagbag" if AIRFLOW_V_3_0_PLUS else "airflow.models.dagbag")
    written: list[Path] = []

    def run(
        source: str,
        conf: dict[str, Any] | None = None,
        *,
        dag_id: str | None = None,
        event: tuple[int | str, dict[str, Any]] | None = None,
    ) -> DagRunResult:
        dag_file = airflow_db.parent / "dags" / f"dag_{len(written)}_{os.getpid()}.py"
        written.append(dag_file)
        dag_file.write_text(source)
        bag = bags.DagBag(str(dag_file))
        assert not bag.import_errors, bag.import_errors
        (dag,) = bag.dags.values() if dag_id is None else [bag.dags[dag_id]]
        for task in dag.tasks:
            # A task that fails when it should not shall end the test, not wait for its retry.
            task.retry_delay = datetime.timedelta(0)
        if event is None:
            return DagRunResult(dag.dag_id, dag.test(run_conf=conf))
        dagrun = importlib.import_module("airflow.models.dagrun")
        with monkeypatch.context() as patched:
            patched.setattr(dagrun, "get_or_create_dagrun", started_by(*event, dagrun.get_or_create_dagrun))
            # A run that an event starts has none.
            return DagRunResult(dag.dag_id, dag.test(run_conf=conf, logical_date=None))

    yield run
    for dag_file in written:
        dag_file.unlink(missing_ok=True)


class AssetEvents:
    """What the events of assets hold."""

    def __init__(self) -> None:
        from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS

        models = importlib.import_module(f"airflow.models.{'asset' if AIRFLOW_V_3_0_PLUS else 'dataset'}")
        self._event = models.AssetEvent if AIRFLOW_V_3_0_PLUS else models.DatasetEvent
        self._asset = None if AIRFLOW_V_3_0_PLUS else models.DatasetModel

    def expect(self, *names: str) -> None:
        """Airflow 2 counts no event of an asset that no scheduler has seen."""
        from airflow.utils.session import create_session

        if self._asset is not None:
            with create_session() as session:
                seen = {uri for (uri,) in session.query(self._asset.uri)}
                session.add_all(self._asset(uri=name) for name in names if name not in seen)

    def of(self, name: str) -> list[dict[str, Any]]:
        """The extras of an asset's events, oldest first."""
        from airflow.utils.session import create_session

        is_it = self._event.asset.has(name=name) if self._asset is None else self._event.dataset.has(uri=name)
        with create_session() as session:
            return [dict(found.extra) for found in session.query(self._event).filter(is_it).order_by(self._event.id)]

    def forget(self) -> None:
        """The next test starts without events."""
        from airflow.utils.session import create_session

        with create_session() as session:
            session.query(self._event).delete()


@pytest.fixture
def asset_events(airflow_db: Path) -> Iterator[AssetEvents]:
    """The events of assets in the tests' Airflow; those of the test alone."""
    events = AssetEvents()
    yield events
    events.forget()
