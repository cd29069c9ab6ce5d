"""Airflow's API server, and DAGs that wait for events."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import requests
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_2_PLUS

from tests.webhook.hostile_requests import CONN_ID, CONNECTIONS, HEARD

PATIENCE = 120.0
DAGS = f"""
from airflow.sdk import DAG

from airflow.providers.standard.operators.empty import EmptyOperator

from airflow_provider_optimove.assets.optimove import optimove_asset, optimove_event

for event in ("campaign_executed", "campaign_triggered", "daily_process_completed"):
    with DAG(f"on_{{event}}", schedule=optimove_event(event, {CONN_ID!r}), is_paused_upon_creation=False):
        pass
with DAG("paused", schedule=optimove_event("campaign_cancelled", {CONN_ID!r}), is_paused_upon_creation=True):
    pass
with DAG("reader", schedule=None, is_paused_upon_creation=False):
    EmptyOperator(task_id="read", inlets=[optimove_asset("campaign_on_hold", {CONN_ID!r})])
"""


def skip_before_airflow_3_2() -> None:
    """For modules about what only newer Airflows have."""
    if not AIRFLOW_V_3_2_PLUS:
        pytest.skip("no partitioned assets before Airflow 3.2, no API server before 3.0", allow_module_level=True)


@pytest.fixture(scope="module")
def connections() -> Iterator[None]:
    """The connections of the hostile requests."""
    with pytest.MonkeyPatch.context() as patch:
        for conn_id, secret in CONNECTIONS.items():
            fields = {"conn_type": "optimove", "host": "http://127.0.0.1:1", "password": "fake-key"}
            extra = {"listener_secret": secret} if secret else {}
            patch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps({**fields, "extra": extra}))
        yield


@pytest.fixture(scope="session")
def waiting_dags(airflow_db: Path) -> None:
    """DAGs that events start, known to the database."""
    file = airflow_db.parent / "dags" / "waiting_for_events.py"
    file.write_text(DAGS)
    subprocess.run([sys.executable, "-m", "airflow", "dags", "reserialize"], check=True, capture_output=True)
    file.unlink()


class ApiServer(NamedTuple):
    """A running API server."""

    port: int
    log: Path
    process: subprocess.Popen[bytes]

    def get(self, path: str, **headers: str) -> Any:
        """What it answers as JSON."""
        answer = requests.get(f"http://127.0.0.1:{self.port}{path}", headers=headers, timeout=PATIENCE)
        answer.raise_for_status()
        return answer.json()

    def wait(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while True:
            with suppress(OSError):
                self.get("/api/v2/monitor/health")
                return
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.2)


@pytest.fixture(scope="module")
def api_servers(
    waiting_dags: None, connections: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[ApiServer]]:
    """Two API servers on one database."""
    from tests.durability.conftest import free_port

    environment = os.environ | {
        "AIRFLOW__OPTIMOVE__LISTENER_CONNECTIONS": ", ".join(HEARD),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
    }
    servers = []
    try:
        for number in (1, 2):
            port, log = free_port(), tmp_path_factory.mktemp("api-server") / f"{number}.log"
            command = [sys.executable, "-m", "airflow", "api-server", "--host", "127.0.0.1", "--port", str(port)]
            with log.open("wb") as output:
                process = subprocess.Popen(
                    [*command, "--workers", "1"],
                    stdout=output,
                    stderr=output,
                    env=environment | {"AIRFLOW__API__PORT": str(port)},
                    start_new_session=True,
                )
            servers.append(ApiServer(port, log, process))
        for server in servers:
            server.wait()
        yield servers
    finally:
        for server in servers:
            os.killpg(server.process.pid, signal.SIGKILL)
            server.process.wait()


@contextmanager
def _serving(app: Any, **options: Any) -> Iterator[int]:
    import uvicorn

    server = uvicorn.Server(uvicorn.Config(app, port=0, lifespan="off", log_config=None, **options))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture
def serving() -> Callable[..., AbstractContextManager[int]]:
    """Serves an ASGI app in this process, over real HTTP; gives the port."""
    return _serving
