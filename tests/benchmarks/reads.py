"""``make bench``: the operator and the hook of large reads beside the loop that a user would write.

All read the same rows from the same server on this machine, each measurement in a process of its own, in turns.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from tests.benchmarks.measuring import arguments, in_megabytes, in_turns, server, told_by, versions

PAGE_SIZE = 50_000
PAGE_SIZES = (10_000, 50_000, 100_000, 200_000)
LATENCY = 0.05
OPERATOR, PAGE_BY_PAGE = "operator", "operator-page-by-page"
FILES = {"jsonl": "JSON Lines", "csv": "CSV", "parquet": "Parquet"}


class Measurement(NamedTuple):
    """What is measured: a contestant, and what it reads into what.

    :param file_format: the ending of a file, or ``rows`` for none.
    :param contestant: of ``read_contestant``.
    :param latency: seconds before each answer.
    :param page_size: rows a call.
    :param rows: how many rows are read; None for as many as ``--rows`` says.
    """

    file_format: str
    contestant: str
    latency: float = 0
    page_size: int = PAGE_SIZE
    rows: int | None = None


class Comparison(NamedTuple):
    """One contestant of ours beside others.

    :param title: what is read into what.
    :param ours: the contestant of ours.
    :param others: the others and what they are called.
    :param at_least: how fast ours shall be, as a multiple of another's rate, where something was set.
    """

    title: str
    ours: Measurement
    others: Mapping[Measurement, str]
    at_least: Mapping[str, float] = {}


COMPARISONS = [
    Comparison(
        "to JSON Lines",
        Measurement("jsonl", OPERATOR),
        {
            Measurement("jsonl", "download"): "download, unread (floor)",
            Measurement("jsonl", "loop-to-json-lines"): "loop, json",
            Measurement("jsonl", "http-operator"): "HttpOperator, then json",
        },
        {"download": 0.75, "loop-to-json-lines": 4},
    ),
    Comparison(
        "to CSV",
        Measurement("csv", OPERATOR),
        {
            Measurement("csv", "loop-with-dict-writer"): "loop, csv.DictWriter",
            Measurement("csv", "loop-with-csv-writer"): "loop, csv.writer",
        },
    ),
    Comparison(
        "to Parquet",
        Measurement("parquet", OPERATOR),
        {
            Measurement("parquet", "loop-to-parquet"): "loop, a table a page",
            Measurement("parquet", "loop-to-parquet-at-once"): "loop, one table",
        },
    ),
    Comparison(
        "to gzip",
        Measurement("jsonl.gz", OPERATOR),
        {
            Measurement("jsonl.gz", "loop-to-gzip-like-operator"): "loop, gzip, equally hard",
            Measurement("jsonl.gz", "loop-to-gzip"): "loop, gzip, as it is",
        },
    ),
    Comparison(
        "row by row",
        Measurement("rows", "hook"),
        {Measurement("rows", "loop-over-rows"): "loop, response.json()"},
    ),
    *(
        Comparison(
            f"{title}, 50 ms",
            Measurement(file_format, OPERATOR, LATENCY),
            {Measurement(file_format, PAGE_BY_PAGE, LATENCY): "operator, page by page"},
        )
        for file_format, title in FILES.items()
    ),
]


def measure(what: Measurement, folder: Path, addresses: Mapping[float, str], rows: int) -> dict[str, Any]:
    """What one contestant took, once.

    :param what: what is measured.
    :param folder: where it writes.
    :param addresses: servers by their latency.
    :param rows: how many rows it reads, unless the measurement says.
    :raises SystemExit: it failed, or not every row arrived once and in its place.
    """
    rows = what.rows or rows
    options = [what.contestant, what.file_format, str(rows), str(what.page_size), str(folder)]
    told = told_by("read_contestant", *options, addresses[what.latency], home=folder)
    if told["returned"] != rows:
        raise SystemExit(f"{what.contestant}, {what.file_format}: {told['returned']} of {rows} rows arrived")
    return told


# What came of it

Found = Mapping[Measurement, Mapping[str, Any]]


def comparisons(found: Found, rows: int) -> Iterator[str]:
    """A line a contestant. A rate above 1 says that ours is faster."""
    yield f"{'':48}{'seconds':>9}{'rows/s':>11}{'our rate':>10}{'CPU':>8}{'memory':>10}"
    for comparison in COMPARISONS:
        ours = found[comparison.ours]
        yield _line(comparison.title, comparison.ours.contestant, ours, rows)
        for other, name in comparison.others.items():
            at_least = comparison.at_least.get(other.contestant)
            goal = f"  (to be {at_least:g} or more)" if at_least else ""
            yield _line("", name, found[other], rows, f"{found[other]['seconds'] / ours['seconds']:.2f}") + goal
    yield "\nour rate: that of the operator (of the hook) as a multiple of the other's; 50 ms: before each answer."


def page_sizes(found: Found, rows: int) -> Iterator[str]:
    """A line a page size, for the formats that were measured."""
    yield f"{'':48}{'seconds':>9}{'rows/s':>11}{'':10}{'CPU':>8}{'memory':>10}"
    for what, told in found.items():
        title = f"{FILES[what.file_format]}, {what.latency * 1000:.0f} ms"
        yield _line(title, f"{what.page_size:,} rows a page", told, rows)


def memory(found: Found, rows: int) -> Iterator[str]:
    """A line a format and number of rows."""
    yield f"{'':48}{'seconds':>9}{'rows/s':>11}{'':10}{'CPU':>8}{'memory':>10}"
    for what, told in found.items():
        title = FILES.get(what.file_format, "gzip")
        yield _line(title, f"{what.rows or rows:,} rows", told, what.rows or rows)


def _line(title: str, name: str, found: Mapping[str, Any], rows: int, rate: str = "") -> str:
    seconds, cpu, memory = found["seconds"], found["cpu"], in_megabytes(found["memory"])
    return f"  {title:20}{name:26}{seconds:>9.3f}{rows / seconds:>11,.0f}{rate:>10}{cpu:>8.3f}{memory:>10}"


def main() -> None:
    parser = arguments(__doc__)
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--page-sizes", action="store_true", help="measure page sizes instead")
    instead.add_argument("--memory", action="store_true", help="measure the memory for more and more rows instead")
    options = parser.parse_args()
    rows = options.rows
    table: Callable[[Found, int], Iterator[str]] = comparisons
    measurements = [what for comparison in COMPARISONS for what in (comparison.ours, *comparison.others)]
    if options.page_sizes:
        table = page_sizes
        measurements = [
            Measurement(file_format, OPERATOR, latency, page_size)
            for file_format in ("jsonl", "csv")
            for latency in (0, LATENCY)
            for page_size in PAGE_SIZES
        ]
    elif options.memory:
        table = memory
        measurements = [
            Measurement(file_format, OPERATOR, rows=count)
            for file_format in (*FILES, "jsonl.gz")
            for count in (rows, 4 * rows)
        ]
    most_rows = max(what.rows or rows for what in measurements)
    with tempfile.TemporaryDirectory(prefix="optimove-bench-") as name, ExitStack() as servers:
        start = partial(server, "page_server", "--rows", str(most_rows), "--latency")
        latencies = {what.latency for what in measurements}
        addresses = {latency: servers.enter_context(start(str(latency))) for latency in latencies}
        found = in_turns(measurements, options.rounds, lambda what: measure(what, Path(name), addresses, rows))
    print(
        f"\n{rows:,} rows a read, all arrived; medians of {options.rounds}; {PAGE_SIZE:,} rows a page unless said."
        f" {versions()}\n"
    )
    print("\n".join(table(found, rows)))
    print(
        "\nCPU: seconds that the process itself worked, which a busy machine changes least."
        "\nmemory: the most while it ran, over what the process had at rest. The operator checks every page, and its"
        "\nfile is on the disk when it ends; the others check nothing and leave that to the system."
    )


if __name__ == "__main__":
    main()
