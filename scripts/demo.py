"""Run the example DAG ``optimove_daily`` end to end against an Optimove on this machine, and show what happened."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

from scratch_airflow import CACHE, EXAMPLE_DAGS, database, environment

from airflow_provider_optimove.sandbox import OptimoveSandbox

DAG = "optimove_daily"
LOG = CACHE / "demo.log"
LOG_LINES_SHOWN = 30
# Longer than any machine takes; a run that hangs must end.
DAG_TIMEOUT = 300
FINISHED = ("success", "failed", "upstream_failed", "skipped")


class DemoError(Exception):
    """The demo cannot go on."""


def main() -> int:
    started = time.monotonic()
    print(f"\nThe daily job on Airflow {version('apache-airflow')}\n")
    CACHE.mkdir(exist_ok=True)
    home = Path(tempfile.mkdtemp(prefix="optimove-demo-"))
    try:
        with LOG.open("w") as log, OptimoveSandbox() as sandbox:
            run(home, sandbox, log)
    except (DemoError, KeyboardInterrupt) as error:
        print(f"\nThe demo failed: {error or 'interrupted'}\n\nThe end of Airflow's log, {LOG}:\n")
        print("\n".join(f"    {line}" for line in LOG.read_text().splitlines()[-LOG_LINES_SHOWN:]))
        return 1
    finally:
        shutil.rmtree(home, ignore_errors=True)
    print(f"\nDone in {time.monotonic() - started:.0f} s. Airflow's own log: {LOG}")
    return 0


def run(home: Path, sandbox: OptimoveSandbox, log: IO[str]) -> None:
    step("An Optimove on this machine")
    done(f"{sandbox.url}, data up to {sandbox.last_data_update}")

    dags = home / "dags"
    dags.mkdir()
    shutil.copy(EXAMPLE_DAGS / f"{DAG}.py", dags)
    settings = environment(home, dags, AIRFLOW_CONN_OPTIMOVE_DEFAULT=sandbox.connection)
    os.environ.update(settings)
    airflow = [sys.executable, "-m", "airflow"]

    with timed("A database for Airflow"):
        migration = subprocess.run([*airflow, "db", "migrate"], stdout=log, stderr=log, env=settings, check=False)
        if migration.returncode:
            raise DemoError("`airflow db migrate` failed")

    with timed("The connection optimove_default"):
        from airflow_provider_optimove.hooks.optimove import OptimoveHook

        works, message = OptimoveHook().test_connection()
        if not works:
            raise DemoError(message)
        print(message, end="; ")

    step(f"The DAG {DAG}")
    print("starting")
    began = time.monotonic()
    with subprocess.Popen([*airflow, "dags", "test", DAG], stdout=log, stderr=log, env=settings) as process:
        try:
            follow(home, process)
        finally:
            process.kill()
    with closing(connect(home)) as metadata:
        states = metadata.execute("select state from dag_run").fetchall()
    if process.returncode or states != [("success",)]:
        raise DemoError(f"the run of {DAG} did not succeed")
    print(f"    finished in {time.monotonic() - began:.1f} s")
    report(home, sandbox)


def follow(home: Path, process: subprocess.Popen[bytes]) -> None:
    """Show each task as it finishes, until the process ends."""
    shown: set[tuple[str, int]] = set()
    deadline = time.monotonic() + DAG_TIMEOUT
    running = True
    while running:
        # Asked before the look, so that the last look sees all.
        running = process.poll() is None
        for task, index, state, seconds in tasks(home):
            if state == "up_for_retry":
                raise DemoError(f"task {task} failed")
            if state in FINISHED and (task, index) not in shown:
                shown.add((task, index))
                print(f"    {task + (f'[{index}]' if index >= 0 else ''):<28} {state:<10} {seconds:5.1f} s", flush=True)
        if time.monotonic() > deadline:
            raise DemoError(f"the DAG took longer than {DAG_TIMEOUT} s")
        time.sleep(0.3)


def report(home: Path, sandbox: OptimoveSandbox) -> None:
    with closing(connect(home)) as metadata:
        found = metadata.execute(
            "select task_id, value from xcom where key = 'return_value' order by task_id, map_index"
        ).fetchall()
    answers: dict[str, list[Any]] = {}
    for task, value in found:
        answers.setdefault(task, []).append(json.loads(value))

    print("\nWhom the day's campaigns reached\n")
    for campaign in answers.get("reached_customers", []):
        print(f"    campaign {campaign['campaign_id']:<8} {campaign['customers']:>6,} customers")
    print("\nPromotions that Optimove has now\n")
    for code, name in sandbox.promotions.items():
        print(f"    {code:<20} {name}")
    print("\nCalls that Optimove answered\n")
    for function, count in Counter(call.function for call in sandbox.calls).items():
        print(f"    {count:>3} x {function}")
    print("\nWhat the run's summary says\n")
    for summary in answers.get("summary", []):
        print("    " + ", ".join(f"{name} {value:,}" for name, value in summary.items()))


def tasks(home: Path) -> list[tuple[str, int, str, float]]:
    """Task, map index, state and seconds of the task instances so far."""
    query = (
        "select task_id, map_index, state, coalesce((julianday(end_date) - julianday(start_date)) * 86400, 0)"
        " from task_instance where state is not null order by end_date"
    )
    try:
        with closing(connect(home)) as metadata:
            return metadata.execute(query).fetchall()
    except sqlite3.OperationalError:  # Airflow is writing; the next look sees it
        return []


def connect(home: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{database(home)}?mode=ro", uri=True)


def step(name: str) -> None:
    print(f"{name + ' ':.<34} ", end="", flush=True)


def done(text: str) -> None:
    print(text, flush=True)


@contextmanager
def timed(name: str) -> Iterator[None]:
    step(name)
    started = time.monotonic()
    yield
    done(f"{time.monotonic() - started:.1f} s")


if __name__ == "__main__":
    sys.exit(main())
