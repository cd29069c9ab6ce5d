"""What the tests let real processes do: ``process_scenarios.py SCENARIO COUNT ARGUMENTS``.

COUNT processes are forked from one without threads and start at once; each writes one line of JSON.
"""

from __future__ import annotations

import http.client
import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from airflow_provider_optimove.clients.optimove import rate_limit, state_directory
from airflow_provider_optimove.clients.optimove.auth import (
    FileTokenStore,
    LoginDelayed,
    MemoryTokenStore,
    SharedSession,
)
from airflow_provider_optimove.clients.optimove.rate_limit import RateLimitGate, parse_rate_limit

PATIENCE = 20.0


def say(line: Any) -> None:
    os.write(1, (json.dumps(line) + "\n").encode())


def connect(address: str) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(address, timeout=PATIENCE)


def ask(connection: http.client.HTTPConnection, path: str, token: str = "") -> tuple[int, str]:
    connection.request("GET", path, headers={"Authorization-Token": token})
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def calls_with_shared_session(address: str, directory: str, calls: int) -> dict[str, Any]:
    connection = connect(address)

    def login(deadline: float) -> str:
        status, token = ask(connection, "/login")
        if status == 429:
            raise LoginDelayed
        return token

    store = FileTokenStore(f"http://{address}/current", "fake-user", "fake-password", directory=Path(directory))
    session = SharedSession(store, login)
    deadline = time.monotonic() + PATIENCE
    statuses = []
    for _ in range(calls):
        token = session.token(deadline)
        status, _body = ask(connection, "/call", token)
        if status == 403:
            status, _body = ask(connection, "/call", session.renew(token, deadline))
        statuses.append(status)
    return {"statuses": statuses}


def calls_through_gate(address: str, directory: str, limit: str, seconds: float) -> dict[str, Any]:
    connection = connect(address)
    gate = RateLimitGate(parse_rate_limit(limit), key="fake-account", directory=Path(directory))
    stop = time.monotonic() + seconds
    calls = 0
    while time.monotonic() < stop:
        with gate.slot(time.monotonic() + PATIENCE):
            ask(connection, "/call")
        calls += 1
    return {"calls": calls}


def parallel_calls(address: str, directory: str, parallel: int, calls: int) -> dict[str, Any]:
    gate = RateLimitGate((), key="fake-account", parallel=parallel, directory=Path(directory))

    def call() -> None:
        connection = connect(address)
        for _ in range(calls):
            with gate.slot(time.monotonic() + PATIENCE):
                ask(connection, "/call")

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {}


def hold_lock(directory: str, name: str) -> None:
    with state_directory.wait_for_lock(Path(directory), name, time.monotonic() + PATIENCE):
        say({"held": True})
        time.sleep(PATIENCE)


def hold_lock_and_fork(directory: str, name: str) -> None:
    with state_directory.wait_for_lock(Path(directory), name, time.monotonic() + PATIENCE):
        child = os.fork()
        if not child:
            time.sleep(PATIENCE)
            os._exit(0)
        say({"held": True, "child": child})
        time.sleep(PATIENCE)


def release_in_child(directory: str, name: str) -> dict[str, Any]:
    lock = state_directory.wait_for_lock(Path(directory), name, time.monotonic() + PATIENCE)
    child = os.fork()
    if not child:
        lock.release()
        os._exit(0)
    os.waitpid(child, 0)
    still_ours = state_directory.try_lock(Path(directory), name) is None
    lock.release()
    return {"still_ours": still_ours}


def hold_slot(directory: str, limit: str, parallel: int | None, allowance: float) -> None:
    rate_limit.ARRIVAL_ALLOWANCE = allowance
    gate = RateLimitGate(parse_rate_limit(limit), key="fake-account", parallel=parallel, directory=Path(directory))
    with gate.slot(time.monotonic() + PATIENCE):
        say({"held": True})
        time.sleep(PATIENCE)


def fork_with_memory_locks_taken(limit: str) -> dict[str, Any]:
    """A thread is in the middle of everything while the process forks; the child must not wait for it."""
    state_directory.HAS_FILE_LOCKS = False
    store = MemoryTokenStore("https://api.example", "fake-user", "fake-password")
    gate = RateLimitGate(parse_rate_limit(limit), key="fake-account", parallel=1)
    inside, done = threading.Event(), threading.Event()

    def login_and_call() -> None:
        with store.lock(time.monotonic() + PATIENCE), gate.slot(time.monotonic() + PATIENCE), gate._ledger.lock:
            inside.set()
            done.wait(PATIENCE)

    thread = threading.Thread(target=login_and_call)
    thread.start()
    inside.wait(PATIENCE)
    child = os.fork()
    if not child:
        deadline = time.monotonic() + 3.0
        session = SharedSession(store, lambda deadline: "fake-token")
        try:
            session.token(deadline)
            with gate.slot(deadline):
                os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    done.set()
    thread.join()
    return {"child": os.waitstatus_to_exitcode(status)}


SCENARIOS: dict[str, Callable[..., dict[str, Any] | None]] = {
    scenario.__name__: scenario
    for scenario in (
        calls_with_shared_session,
        calls_through_gate,
        parallel_calls,
        hold_lock,
        hold_lock_and_fork,
        release_in_child,
        hold_slot,
        fork_with_memory_locks_taken,
    )
}


def main() -> None:
    scenario, count, arguments = SCENARIOS[sys.argv[1]], int(sys.argv[2]), json.loads(sys.argv[3])
    if count == 1:
        say(scenario(**arguments))
        return
    gun, trigger = os.pipe()
    children = []
    for _ in range(count):
        child = os.fork()
        if not child:
            os.close(trigger)
            os.read(gun, 1)
            try:
                say(scenario(**arguments))
            except BaseException:
                say({"error": traceback.format_exc()})
            os._exit(0)
        children.append(child)
    os.close(trigger)
    for child in children:
        os.waitpid(child, 0)


if __name__ == "__main__":
    main()
