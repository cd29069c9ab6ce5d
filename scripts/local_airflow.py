"""Open a local Airflow with the example DAGs, connected to an Optimove and the others on this machine; until Ctrl-C."""

from __future__ import annotations

import argparse
import datetime
import fcntl
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import ExitStack, suppress
from importlib.metadata import version
from typing import IO, Any

from scratch_airflow import CACHE, EXAMPLE_DAGS, environment

from airflow_provider_optimove.sandbox import OptimoveSandbox
from airflow_provider_optimove.sandbox.serving import StandIn
from airflow_provider_optimove.sandbox.systems import systems_after

AIRFLOW = version("apache-airflow")
HOME = CACHE / f"airflow-{AIRFLOW}"
LOG = HOME / "standalone.log"
START_TIMEOUT = 180
LISTENS = not AIRFLOW.startswith("2.")
LISTENER_SECRET = "secret-of-the-local-optimove"  # noqa: S105


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8080, help="port of Airflow's UI")
    parser.add_argument("--sandbox-port", type=int, default=8099, help="port of the local Optimove")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    address = f"http://localhost:{arguments.port}"
    settings = environment(
        HOME,
        EXAMPLE_DAGS,
        AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION="False",
        AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL="30",
        AIRFLOW__CORE__EXECUTION_API_SERVER_URL=f"{address}/execution/",
        # One process a task that runs at the same time is forked at the start.
        AIRFLOW__CORE__PARALLELISM="2",
        AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS="True",
        AIRFLOW__CORE__TEST_CONNECTION="Enabled",
        # Whoever reaches it is an administrator.
        AIRFLOW__API__HOST="127.0.0.1",
        AIRFLOW__API__PORT=str(arguments.port),
        AIRFLOW__API__WORKERS="1",
        AIRFLOW__API__BASE_URL=address,
        AIRFLOW__WEBSERVER__WEB_SERVER_HOST="127.0.0.1",
        AIRFLOW__WEBSERVER__WEB_SERVER_PORT=str(arguments.port),
        AIRFLOW__WEBSERVER__BASE_URL=address,
        AIRFLOW__WEBSERVER__WORKERS="1",
        AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT=str(free_port()),
        AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT=str(free_port()),
    )
    if in_use(arguments.port):
        sys.exit(f"port {arguments.port} is in use; choose another: make airflow AIRFLOW_PORT={arguments.port + 10}")
    try:
        fcntl.flock(os.open(HOME, os.O_RDONLY), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit(f"an Airflow that was started like this is running already; its files are those of {HOME}")
    if LISTENS:
        settings["AIRFLOW__OPTIMOVE__LISTENER_CONNECTIONS"] = "optimove_default"
    with (
        LOG.open("w") as log,
        OptimoveSandbox(port=arguments.sandbox_port) as sandbox,
        ExitStack() as running,
    ):
        print(f"An Optimove on this machine: {sandbox.url}", flush=True)
        systems = systems_after(0)
        for name, stand_in in systems.items():
            running.enter_context(stand_in)
            print(f"A {name}: {stand_in.url}", flush=True)
        prepare(settings, sandbox, [*systems.values()], log)
        print("Starting Airflow; about half a minute", flush=True)
        with subprocess.Popen(
            [sys.executable, "-m", "airflow", "standalone"],
            stdout=log,
            stderr=log,
            env=settings,
            start_new_session=True,
        ) as process:
            try:
                wait_until_healthy(process, address)
                print(f"\n    {address}\n")
                if LISTENS:
                    command = f"{shlex.quote(sys.executable)} -m airflow_provider_optimove.sandbox"
                    tomorrow = sandbox.last_data_update + datetime.timedelta(days=1)
                    print(
                        "What the local Optimove can be told; an event starts a DAG once, then with another --campaign."
                    )
                    for started, what in {
                        "optimove_on_campaign": "fire 13",
                        "optimove_to_netmera": "fire 13 --channel 459",
                        "optimove_conditional_promotions": "fire 5",
                        "optimove_on_data_update": f"data {tomorrow}",
                    }.items():
                        print(f"{started}:\n\n    {command} {what} --port {sandbox.port}\n")
                else:
                    password = (HOME / "standalone_admin_password.txt").read_text()
                    print(f"    user admin, password {password}\n")
                print(
                    f"The DAGs are those of {EXAMPLE_DAGS}; one of yours, put there, is found within a minute.\n"
                    f"Airflow's log is {LOG}. Ctrl-C ends it.",
                    flush=True,
                )
                return process.wait()
            except KeyboardInterrupt:
                print("\nEnding", flush=True)
                return 0
            except RuntimeError as error:
                print(f"{error}; the reason stands in {LOG}")
                return 1
            finally:
                end(process)


def in_use(port: int) -> bool:
    with socket.socket() as server:
        # As a server does: connections that are just ending are no obstacle.
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def end(process: subprocess.Popen[bytes]) -> None:
    """End Airflow with all its parts, which outlive `airflow standalone` otherwise."""
    for how, patience in (signal.SIGTERM, 15), (signal.SIGKILL, 5):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, how)
            deadline = time.monotonic() + patience
            while time.monotonic() < deadline:
                process.poll()
                os.killpg(process.pid, 0)
                time.sleep(0.2)


def prepare(settings: dict[str, str], sandbox: OptimoveSandbox, systems: list[StandIn[Any]], log: IO[str]) -> None:
    """Migrate the database, put connections into it, where their forms can be looked at, and have events sent here."""
    file = HOME / "connections.json"
    connections = {stand_in.connection_id: json.loads(stand_in.connection) for stand_in in (sandbox, *systems)}
    connections[sandbox.connection_id]["extra"] = {"listener_secret": LISTENER_SECRET}
    file.touch(mode=0o600)
    file.write_text(json.dumps(connections))
    steps = {
        "Airflow's database": ["db", "migrate"],
        f"The connections {', '.join(connections)}": ["connections", "import", "--overwrite", str(file)],
    }
    if LISTENS:
        # The DAG runs by itself once only, and this Optimove has just begun.
        steps["The listener of Optimove's events"] = ["dags", "test", "optimove_listen"]
    for what, command in steps.items():
        print(what, flush=True)
        ran = subprocess.run(
            [sys.executable, "-m", "airflow", *command], stdout=log, stderr=log, env=settings, check=False
        )
        if ran.returncode:
            sys.exit(f"`airflow {' '.join(command)}` failed; the reason stands in {LOG}")


def wait_until_healthy(process: subprocess.Popen[bytes], address: str) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    health = f"{address}/health" if AIRFLOW.startswith("2.") else f"{address}/api/v2/monitor/health"
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError("Airflow ended")
        with (
            suppress(urllib.error.URLError, OSError, ValueError),
            urllib.request.urlopen(health, timeout=5) as response,
        ):
            if json.load(response)["scheduler"]["status"] == "healthy":
                return
        time.sleep(1)
    raise RuntimeError(f"Airflow was not ready after {START_TIMEOUT} s")


if __name__ == "__main__":
    sys.exit(main())
