"""An Airflow of the tests' own: nothing of the user's is read or written."""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

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
