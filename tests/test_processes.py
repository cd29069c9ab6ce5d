"""Many processes of one host with one account: real clients, real files, the sandbox's own limits."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_optimove.sandbox import OptimoveSandbox

# Each process says that it is ready, begins when it is told to, and reports how its calls ended.
PROCESS = textwrap.dedent(
    """
    import json, logging, sys, time

    from airflow_provider_optimove.clients.http import HttpSettings
    from airflow_provider_optimove.clients.optimove.client import OptimoveClient, OptimoveSettings

    settings = json.loads(sys.argv[1])
    client = OptimoveClient(OptimoveSettings(HttpSettings(settings.pop("base_url")), **settings))
    calls, pause = int(sys.argv[2]), float(sys.argv[3])
    print("ready", flush=True)
    sys.stdin.readline()
    answers = []
    for _ in range(calls):
        answers.append(str(client.get_last_data_update()))
        time.sleep(pause)
    print(json.dumps(answers), flush=True)
    """
)


class Processes:
    """Processes that call GetLastDataUpdate a number of times each."""

    def __init__(self, directory: Path, count: int, calls: int, pause: float = 0.0, **settings: Any) -> None:
        command = [sys.executable, "-c", PROCESS, json.dumps(settings), str(calls), str(pause)]
        environment = {"TMPDIR": str(directory), "PATH": "/usr/bin:/bin"}
        self.running = [
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
            for _ in range(count)
        ]
        for process in self.running:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"

    def go(self) -> None:
        for process in self.running:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()

    def answers(self) -> list[str]:
        """All answers of all processes, when all have ended well."""
        found: list[str] = []
        for process in self.running:
            output, _ = process.communicate(timeout=120)
            assert process.returncode == 0
            found += json.loads(output)
        return found


@pytest.fixture
def sandbox() -> Any:
    with OptimoveSandbox(last_data_update="2026-11-20") as running:
        yield running


def statuses(sandbox: OptimoveSandbox, function: str) -> dict[int | None, int]:
    found: dict[int | None, int] = {}
    for call in sandbox.calls_of(function):
        found[call.status] = found.get(call.status, 0) + 1
    return found


@pytest.mark.parametrize("second_login_kills_token", [False, True])
def test_twenty_processes_log_in_once_and_once_more_when_the_token_expires(
    tmp_path: Path, sandbox: OptimoveSandbox, second_login_kills_token: bool
) -> None:
    sandbox.sessions.needless_logins_allowed = 0
    sandbox.sessions.second_login_kills_token = second_login_kills_token
    processes = Processes(
        tmp_path, 20, calls=12, pause=0.1, base_url=sandbox.url, user_name="sandbox", password="sandbox", rate_limit=""
    )
    processes.go()
    deadline = time.monotonic() + 30
    while len(sandbox.calls_of("GetLastDataUpdate")) < 100 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert statuses(sandbox, "Login") == {200: 1}
    sandbox.expire_tokens()
    assert processes.answers() == ["2026-11-20"] * 20 * 12
    assert statuses(sandbox, "Login") == {200: 2}
    refused = statuses(sandbox, "GetLastDataUpdate")
    assert refused.pop(200) == 20 * 12
    # Those in flight when it expired; each was made again.
    assert set(refused) == {403}
    assert 1 <= refused[403] <= 20


def test_four_processes_at_full_speed_stay_below_the_limit_of_the_server(
    tmp_path: Path, sandbox: OptimoveSandbox
) -> None:
    sandbox.rate_limit = "50/10"
    processes = Processes(tmp_path, 4, calls=30, base_url=sandbox.url, api_key=sandbox.api_key)
    processes.go()
    assert processes.answers() == ["2026-11-20"] * 120
    assert statuses(sandbox, "GetLastDataUpdate") == {200: 120}
    times = sorted(call.time for call in sandbox.calls_of("GetLastDataUpdate"))
    # 120 calls need more than two windows.
    assert times[-1] - times[0] >= 20
