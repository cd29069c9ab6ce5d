"""``make bench``: the operators of large writes beside the loop that a user would write and beside ready-made bodies.

All send the same rows to the same server on this machine, each measurement in a process of its own, in turns.
"""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Iterator, Mapping
from itertools import islice, product
from pathlib import Path
from typing import Any, NamedTuple

from tests.benchmarks.measuring import arguments, in_megabytes, in_turns, server, told_by, versions

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


def measure(what: Measurement, folder: Path, address: str, rows: int) -> dict[str, Any]:
    """What one contestant took, once.

    :raises SystemExit: it failed, or the server did not get every row.
    """
    options = [what.contestant, what.function, what.source, str(folder), address]
    told = told_by("write_contestant", *options, home=folder)
    if told["ids"] != rows:
        raise SystemExit(f"{' '.join(what)}: {told['ids']} of {rows} rows arrived")
    return told


# What came of it


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
    memory = in_megabytes(found["memory"])
    ratios = f"{to_loop:>9}{to_floor:>10}"
    return (
        f"  {title:17}{name:26}{found['seconds']:>9.3f}{ratios}{found['cpu']:>8.3f}{found['calls']:>7.0f}{memory:>10}"
    )


def main() -> None:
    options = arguments(__doc__).parse_args()
    with tempfile.TemporaryDirectory(prefix="optimove-bench-") as name, server("counting_server") as address:
        folder = Path(name)
        write_inputs(folder / "few", FEW)
        write_inputs(folder / "all", options.rows)
        found = in_turns(MEASUREMENTS, options.rounds, lambda what: measure(what, folder, address, options.rows))
    writes = found[Measurement(PREFERENCE, "csv", OPERATOR)]["returned"]
    print(f"\n{options.rows:,} rows a function, all arrived; medians of {options.rounds}. {versions()}\n")
    print("\n".join(table(found)))
    print(
        "\nto loop, to floor: the operator's time over that of the (faster) loop, and of posting ready-made bodies."
        "\nCPU: seconds that the process itself worked, which a busy machine changes least."
        "\nmemory: the most while it ran, over what the process had at rest. The operator checks every row, and writes"
        f"\nits progress {writes:.0f} times for {PREFERENCE}, here into memory; the loops do neither."
    )


if __name__ == "__main__":
    main()
