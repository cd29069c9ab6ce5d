"""``make bench``: the operators of large writes beside the loop that a user would write and beside ready-made bodies.

All send the same rows to the same server on this machine, each measurement in a process of its own, in turns.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from itertools import islice, product
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).resolve().parent
ROWS_A_CALL = 50_000
FEW = 24
PREFERENCE, INTERACTIONS = "SetCustomerChannelPreference", "UpdateCampaignInteractions"
SOURCES = {"list": "a list", "jsonl": "JSON Lines", "csv": "CSV"}
OPERATOR, FLOOR = "operator", "ready-made-bodies"
LOOPS = {
    "list": {"loop": "loop"},
    "jsonl": {"loop": "loop, json.loads"},
    "csv": {"loop": "loop, csv.reader", "loop-with-dict-reader": "loop, csv.DictReader"},
}
LONGEST = 600


class Measurement(NamedTuple):
    """What is measured: a contestant, with a function's rows out of a source."""

    function: str
    source: str
    contestant: str


MEASUREMENTS = [
    Measurement(function, source, contestant)
    for function in (PREFERENCE, INTERACTIONS)
    for source in SOURCES
    for contestant in (OPERATOR, *LOOPS[source], *([FLOOR] if source == "list" else []))
]


# The rows


def interactions(count: int) -> list[dict[str, Any]]:
    """Each of a customer of its own, of twelve calls' arguments in random order."""
    dice = random.Random(0)
    combinations = [
        {"CampaignID": campaign, "ChannelID": 15, "InteractionDate": "2026-11-20", "TemplateID": template, "EventID": e}
        for campaign, template, e in product((221, 222), (15_001, 15_002), (2, 3, 4))
    ]
    return [{"CustomerID": f"CUST{n:08d}", **dice.choice(combinations)} for n in range(count)]


def write_inputs(folder: Path, count: int) -> None:
    """Every function's rows as files, and the bodies of its calls, one a line."""
    folder.mkdir()
    rows = interactions(count)
    groups: dict[tuple[Any, ...], list[str]] = {}
    for row in rows:
        groups.setdefault(tuple(row.values())[1:], []).append(row["CustomerID"])
    shared = [dict(zip(islice(rows[0], 1, None), key, strict=True)) for key in groups]
    _write(folder / INTERACTIONS, rows, list(zip(shared, groups.values(), strict=True)))
    customers = [{"CustomerID": row["CustomerID"]} for row in rows]
    ids = [row["CustomerID"] for row in rows]
    _write(folder / PREFERENCE, customers, [({"ChannelID": 15, "CommunicationMode": 2}, ids)])


def _write(path: Path, rows: list[dict[str, Any]], calls: list[tuple[dict[str, Any], list[str]]]) -> None:
    with path.with_suffix(".jsonl").open("w") as file:
        file.writelines(f"{json.dumps(row)}\n" for row in rows)
    with path.with_suffix(".csv").open("w") as file:
        file.write(f"{','.join(rows[0])}\n")
        file.writelines(f"{','.join(map(str, row.values()))}\n" for row in rows)
    with path.with_suffix(".bodies").open("w") as file:
        for arguments, ids in calls:
            for start in range(0, len(ids), ROWS_A_CALL):
                body = {**arguments, "CustomerIDs": ids[start : start + ROWS_A_CALL]}
                file.write(f"{json.dumps(body, separators=(',', ':'))}\n")


# Measuring


@contextmanager
def fast_server() -> Iterator[str]:
    """The address of a server that runs in a process of its own."""
    command = [sys.executable, str(HERE / "fast_server.py")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        # Its input is closed with the block, and that ends it.
        yield process.stdout.readline().strip()


def environment(home: Path) -> dict[str, str]:
    """An Airflow of its own, on this machine only."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    return kept | {
        "AIRFLOW_HOME": str(home / "airflow"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }


def measure(what: Measurement, folder: Path, server: str, rows: int) -> dict[str, Any]:
    """What one contestant took, once.

    :raises SystemExit: it failed, or the server did not get every row.
    """
    arguments = [what.contestant, what.function, what.source, str(folder), server]
    ran = subprocess.run(
        [sys.executable, str(HERE / "contestant.py"), *arguments],
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=LONGEST,
        check=False,
    )
    if ran.returncode:
        raise SystemExit(f"{' '.join(what)} failed:\n{ran.stdout[-2000:]}{ran.stderr[-4000:]}")
    told: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    if told["ids"] != rows:
        raise SystemExit(f"{' '.join(what)}: {told['ids']} of {rows} rows arrived")
    return told


# What came of it


def medians(taken: list[dict[str, Any]]) -> dict[str, Any]:
    known = {name: [one[name] for one in taken if one[name] is not None] for name in taken[0]}
    return {name: statistics.median(values) if values else None for name, values in known.items()}


def table(found: Mapping[Measurement, Mapping[str, Any]]) -> Iterator[str]:
    """A line a contestant. A ratio below 1 says that the operator is faster; of two loops the faster one counts."""
    yield f"{'':45}{'seconds':>9}{'to loop':>9}{'to floor':>10}{'CPU':>8}{'calls':>7}{'memory':>10}"
    for function in (PREFERENCE, INTERACTIONS):
        floor = found[Measurement(function, "list", FLOOR)]
        yield f"\n{function}"
        yield _line("", "ready-made bodies (floor)", floor)
        for source, title in SOURCES.items():
            operator = found[Measurement(function, source, OPERATOR)]
            loops = {name: found[Measurement(function, source, loop)] for loop, name in LOOPS[source].items()}
            loop_seconds = min(loop["seconds"] for loop in loops.values())
            ratios = [operator["seconds"] / seconds for seconds in (loop_seconds, floor["seconds"])]
            yield _line(f"from {title}", "operator", operator, *(f"{ratio:.2f}" for ratio in ratios))
            for name, loop in loops.items():
                yield _line("", name, loop)


def _line(title: str, name: str, found: Mapping[str, Any], to_loop: str = "", to_floor: str = "") -> str:
    memory = "?" if found["memory"] is None else f"{found['memory'] / 1e6:.0f} MB"
    ratios = f"{to_loop:>9}{to_floor:>10}"
    return (
        f"  {title:17}{name:26}{found['seconds']:>9.3f}{ratios}{found['cpu']:>8.3f}{found['calls']:>7.0f}{memory:>10}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of each input (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured (default: %(default)s)")
    options = parser.parse_args()
    taken: dict[Measurement, list[dict[str, Any]]] = {what: [] for what in MEASUREMENTS}
    with tempfile.TemporaryDirectory(prefix="optimove-bench-") as name, fast_server() as server:
        folder = Path(name)
        write_inputs(folder / "few", FEW)
        write_inputs(folder / "all", options.rows)
        for turn in range(1, options.rounds + 1):
            print(f"round {turn} of {options.rounds}", file=sys.stderr, flush=True)
            for what in MEASUREMENTS:
                taken[what].append(measure(what, folder, server, options.rows))
    found = {what: medians(taken[what]) for what in MEASUREMENTS}
    writes = found[Measurement(PREFERENCE, "csv", OPERATOR)]["state_writes"]
    print(
        f"\n{options.rows:,} rows a function, all arrived; medians of {options.rounds}. Airflow"
        f" {version('apache-airflow')}, Python {platform.python_version()}\n"
    )
    print("\n".join(table(found)))
    print(
        "\nto loop, to floor: the operator's time over that of the (faster) loop, and of posting ready-made bodies."
        "\nCPU: seconds that the process itself worked, which a busy machine changes least."
        "\nmemory: the most while it ran, over what the process had at rest. The operator checks every row, and writes"
        f"\nits progress {writes:.0f} times for {PREFERENCE}, here into memory; the loops do neither."
    )


if __name__ == "__main__":
    main()
