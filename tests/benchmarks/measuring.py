"""What the benchmarks share: each measurement in a process of its own, in turns, and medians of what they tell."""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

ROOT = Path(__file__).resolve().parents[2]
LONGEST = 600

Run = Callable[[], int | None]
What = TypeVar("What")

# In the process that is measured


def measured(run: Run) -> dict[str, float | None]:
    """What a run takes.

    :param run: what is measured; everything that it needs is imported and prepared.
    :returns: ``seconds``; ``cpu``, the seconds that the process itself worked; ``memory``, the most bytes while it ran
        over those at rest, None where the system does not tell; ``returned``, what the run returned.
    """
    gc.collect()
    at_rest = _memory("VmRSS")
    _forget_the_most_memory()
    began, worked = time.perf_counter(), time.process_time()
    returned = run()
    seconds, cpu = time.perf_counter() - began, time.process_time() - worked
    most = _memory("VmHWM")
    memory = None if at_rest is None or most is None else most - at_rest
    return {"seconds": seconds, "cpu": cpu, "memory": memory, "returned": returned}


def _memory(what: str) -> int | None:
    """``VmRSS`` or ``VmHWM`` (the most so far) in bytes; None where the system does not tell."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return None
    found = re.search(rf"{what}:\s*(\d+) kB", status)
    return int(found[1]) * 1024 if found else None


def _forget_the_most_memory() -> None:
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


# In the process that compares


def arguments(description: str | None) -> argparse.ArgumentParser:
    """The options that both benchmarks take."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0] if description else None)
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of each measurement (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured (default: %(default)s)")
    return parser


@contextmanager
def server(module: str, *options: str) -> Iterator[str]:
    """The address of a server that runs in a process of its own.

    :param module: its name beside this one.
    :param options: of its command line.
    """
    command = _command(module, *options)
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        # Its input is closed with the block, and that ends it.
        yield process.stdout.readline().strip()


def told_by(module: str, *options: str, home: Path) -> dict[str, Any]:
    """What a contestant, in a process of its own, tells as JSON.

    :param module: its name beside this one.
    :param options: of its command line.
    :param home: where it has an Airflow of its own.
    :raises SystemExit: it failed.
    """
    ran = subprocess.run(
        _command(module, *options),
        cwd=ROOT,
        env=_environment(home),
        capture_output=True,
        text=True,
        timeout=LONGEST,
        check=False,
    )
    if ran.returncode:
        raise SystemExit(f"{' '.join(options)} failed:\n{ran.stdout[-2000:]}{ran.stderr[-4000:]}")
    told: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return told


def in_turns(
    measurements: Sequence[What], rounds: int, measure: Callable[[What], dict[str, Any]]
) -> dict[What, dict[str, Any]]:
    """The medians of what was told, by measurement.

    :param measurements: what is measured.
    :param rounds: how often each; one of each comes before the next of any.
    :param measure: measures one.
    """
    taken: dict[What, list[dict[str, Any]]] = {what: [] for what in measurements}
    for turn in range(1, rounds + 1):
        print(f"round {turn} of {rounds}", file=sys.stderr, flush=True)
        for what in measurements:
            taken[what].append(measure(what))
    return {what: _medians(all_told) for what, all_told in taken.items()}


def in_megabytes(memory: float | None) -> str:
    """Memory in words; a question mark where the system did not tell."""
    return "?" if memory is None else f"{memory / 1e6:.0f} MB"


def versions() -> str:
    """The Airflow and the Python of this run."""
    return f"Airflow {version('apache-airflow')}, Python {platform.python_version()}"


def _command(module: str, *options: str) -> list[str]:
    return [sys.executable, "-m", f"tests.benchmarks.{module}", *options]


def _environment(home: Path) -> dict[str, str]:
    """An Airflow of its own, on this machine only."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    return kept | {
        "AIRFLOW_HOME": str(home / "airflow"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }


def _medians(all_told: list[dict[str, Any]]) -> dict[str, Any]:
    known = {name: [told[name] for told in all_told if told[name] is not None] for name in all_told[0]}
    return {name: statistics.median(values) if values else None for name, values in known.items()}
