"""``make bench BENCH=listener``: the event listener beside Airflow's own route for asset events.

Both run in one API server, on one database, and get the same payloads, in turns.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import itertools
import json
import os
import re
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from airflow_provider_optimove.assets.events import asset_of
from tests.benchmarks.measuring import in_megabytes, in_turns, versions
from tests.durability.conftest import free_port

CONN_ID = "optimove_default"
SECRET = "fake-secret-of-the-benchmark"
MOST_ROUNDS = 20
PATIENCE = 120
# Event types without a name, so that each turn has an asset of its own.
TOGETHER, ALONE, CORES = 20, 40, 60
DAGS = f"""
from airflow.sdk import DAG

from airflow_provider_optimove.assets.optimove import optimove_event

for event_type in range({TOGETHER}, {CORES + MOST_ROUNDS}):
    with DAG(f"on_{{event_type}}", schedule=optimove_event(event_type), is_paused_upon_creation=False):
        pass
"""


class Contestant(NamedTuple):
    """Who is measured.

    :param title: in the table.
    :param event_type: of the first turn.
    :param status: that every request shall get.
    :param alone: whether one request comes after the other.
    """

    title: str
    event_type: int
    status: int = 200
    alone: bool = False


NEW = Contestant("listener: new events", TOGETHER)
KNOWN = Contestant("listener: events that are known", TOGETHER)
GUESSED = Contestant("listener: a wrong secret", TOGETHER, status=403)
ONE_BY_ONE = Contestant("listener: new events, one by one", ALONE, alone=True)
# At the same time, on SQLite, some of its answers are 500: the database is locked.
CORE = Contestant("POST /api/v2/assets/events, one by one", CORES, alone=True)
CONTESTANTS = (NEW, KNOWN, GUESSED, ONE_BY_ONE, CORE)


class ApiServer(NamedTuple):
    """An API server with a database of its own."""

    port: int
    process_id: int
    database: Path

    def call(self, connection: http.client.HTTPConnection, path: str, body: Any, **headers: str) -> int:
        """The status that a request got."""
        headers["Content-Type"] = "application/json"
        connection.request("POST", path, json.dumps(body), headers)
        answer = connection.getresponse()
        answer.read()
        return answer.status

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)

    def token(self) -> str:
        """What lets in to Airflow's own routes."""
        with closing(self.connect()) as connection:
            connection.request("GET", "/auth/token")
            return str(json.load(connection.getresponse())["access_token"])

    def asset_id(self, event_type: int) -> int:
        with closing(sqlite3.connect(self.database)) as metadata:
            ((found,),) = metadata.execute("select id from asset where name = ?", asset_of(event_type, CONN_ID)[:1])
            return int(found)

    def memory(self) -> int | None:
        """Its bytes; None where the system does not tell."""
        with contextlib.suppress(OSError):
            if found := re.search(r"VmRSS:\s*(\d+) kB", Path(f"/proc/{self.process_id}/status").read_text()):
                return int(found[1]) * 1024
        return None


@contextmanager
def api_server(home: Path) -> Iterator[ApiServer]:
    """A running API server that hears events."""
    port = free_port()
    (home / "dags").mkdir()
    (home / "dags" / "events.py").write_text(DAGS)
    connection = {"conn_type": "optimove", "host": "http://127.0.0.1:1", "password": "fake-key"}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")} | {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__OPTIMOVE__LISTENER_CONNECTIONS": CONN_ID,
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "AIRFLOW_CONN_OPTIMOVE_DEFAULT": json.dumps({**connection, "extra": {"listener_secret": SECRET}}),
    }
    command = [sys.executable, "-m", "airflow"]
    for preparation in (["db", "migrate"], ["dags", "reserialize"]):
        subprocess.run([*command, *preparation], env=environment, check=True, capture_output=True)
    command += ["api-server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    with (home / "api-server.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    server = ApiServer(port, process.pid, home / "airflow.db")
    try:
        _wait_for(server, process, home / "api-server.log")
        yield server
    finally:
        process.terminate()
        process.wait()


def _wait_for(server: ApiServer, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        with contextlib.suppress(OSError), closing(server.connect()) as connection:
            connection.request("GET", "/api/v2/monitor/health")
            if connection.getresponse().status == 200:
                return
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"The API server did not start:\n{log.read_text()[-4000:]}")
        time.sleep(0.2)


class Contest:
    """What is sent to a server, and how long each request took.

    :param server: the API server.
    :param requests: how many a turn.
    :param threads: how many send at the same time.
    """

    def __init__(self, server: ApiServer, requests: int, threads: int) -> None:
        self._server = server
        self._requests = requests
        self._threads = threads
        self._token = server.token()
        self._turns = {contestant: itertools.count() for contestant in CONTESTANTS}

    def measure(self, contestant: Contestant) -> dict[str, Any]:
        """One turn of one contestant.

        :raises SystemExit: a request did not get the status that it should.
        """
        before = self._server.memory()
        began = time.perf_counter()
        took = self.send(contestant, next(self._turns[contestant]), self._requests)
        seconds = time.perf_counter() - began
        after = self._server.memory()
        hundredths = statistics.quantiles(took, n=100)
        return {
            "rate": len(took) / seconds,
            "p50": hundredths[49],
            "p95": hundredths[94],
            "p99": hundredths[98],
            "longest": max(took),
            "growth": None if before is None or after is None else after - before,
        }

    def send(self, contestant: Contestant, turn: int, requests: int) -> list[float]:
        """The seconds that each request took."""
        post = self._request_of(contestant, turn)
        threads = 1 if contestant.alone else self._threads

        def share(thread: int) -> list[float]:
            took = []
            with closing(self._server.connect()) as connection:
                for number in range(thread, requests, threads):
                    began = time.perf_counter()
                    status = post(connection, number)
                    took.append(time.perf_counter() - began)
                    if status != contestant.status:
                        raise SystemExit(f"{contestant.title}: {status} instead of {contestant.status}")
            return took

        with ThreadPoolExecutor(threads) as pool:
            return [seconds for part in pool.map(share, range(threads)) for seconds in part]

    def _request_of(self, contestant: Contestant, turn: int) -> Callable[[http.client.HTTPConnection, int], int]:
        """What sends one request and gives the status that it got."""
        event_type = contestant.event_type + turn
        if contestant is CORE:
            asset_id = self._server.asset_id(event_type)

            def post(connection: http.client.HTTPConnection, number: int) -> int:
                body = {"asset_id": asset_id, "extra": _payload(number), "partition_key": f"event/{number}"}
                return self._server.call(
                    connection, "/api/v2/assets/events", body, Authorization=f"Bearer {self._token}"
                )

            return post
        secret = "wrong" if contestant is GUESSED else SECRET
        path = f"/optimove/events/{CONN_ID}/{event_type}?token={secret}"
        return lambda connection, number: self._server.call(connection, path, _payload(number))


def _payload(number: int) -> dict[str, Any]:
    return {"TimeStamp": "2026-11-20 06:30:00", "CampaignID": number, "ChannelID": 504}


def table(found: Mapping[Contestant, Mapping[str, Any]]) -> Iterator[str]:
    """A line a contestant. A rate above 1 says that ours is faster."""
    yield f"{'':40}{'a second':>9}{'our rate':>10}{'p50':>9}{'p95':>9}{'p99':>9}{'longest':>10}{'memory':>10}"
    for contestant, told in found.items():
        rate = f"{found[ONE_BY_ONE]['rate'] / told['rate']:.2f}" if contestant is CORE else ""
        times = "".join(f"{told[name] * 1000:>6.0f} ms" for name in ("p50", "p95", "p99"))
        longest, growth = f"{told['longest'] * 1000:.0f} ms", in_megabytes(told["growth"])
        yield f"  {contestant.title:38}{told['rate']:>9.0f}{rate:>10}{times}{longest:>10}{growth:>10}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--requests", type=int, default=1000, help="of each measurement (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=4, help="that send at the same time (default: %(default)s)")
    options = parser.parse_args()
    if not 1 <= options.rounds < MOST_ROUNDS:
        parser.error(f"--rounds: from 1 to {MOST_ROUNDS - 1}")
    with tempfile.TemporaryDirectory(prefix="optimove-bench-") as name, api_server(Path(name)) as server:
        contest = Contest(server, options.requests, options.threads)
        for contestant in CONTESTANTS:
            contest.send(contestant, MOST_ROUNDS - 1, 50)
        found = in_turns(CONTESTANTS, options.rounds, contest.measure)
    print(
        f"\n{options.requests:,} requests each, {options.threads} at a time unless said, all answered as they should"
        f" be; medians of {options.rounds}. {versions()}, SQLite\n"
    )
    print("\n".join(table(found)))
    print(
        "\nour rate: that of the listener, one by one, as a multiple of that of Airflow's own route, which does not"
        "\nlook whether the event is known, and writes a line of the audit log. Both have committed when they answer."
        "\nmemory: what the API server has more after the requests than before."
    )


if __name__ == "__main__":
    main()
