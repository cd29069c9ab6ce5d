"""Read all rows of a campaign in one way, and tell as JSON what it took.

Run by ``reads.py`` in a process of its own a measurement::

    python -m tests.benchmarks.read_contestant <contestant> <format> <rows> <page size> <folder> <server>

The format is the ending of the file that is written, or ``rows`` for none. A few rows are read before the clock starts,
so that everything is imported and compiled.
"""

from __future__ import annotations

import csv
import gzip
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, count
from pathlib import Path
from typing import IO, Any, NamedTuple
from unittest.mock import patch

import requests

from tests.benchmarks.measuring import Run, measured

FUNCTION = "GetCustomerExecutionDetailsByCampaign"
FEW = 24
CUSTOMER_ID = re.compile(rb"C(\d{8})")
PIECE = 1 << 20


class Read(NamedTuple):
    """What is to be read.

    :param rows: how many there are; it is the campaign's number too.
    :param page_size: rows a call.
    :param file: where they are written.
    :param server: the server's address.
    """

    rows: int
    page_size: int
    file: Path
    server: str


# The loops that a user would write: as fast as they are without being hard to read, and nothing is checked.


def answers(read: Read) -> Iterator[requests.Response]:
    """All pages, unread, until one is empty."""
    with requests.Session() as session:
        session.headers["X-API-KEY"] = "key"
        for skip in count(0, read.page_size):
            answer = session.get(
                f"{read.server}/current/customers/{FUNCTION}",
                params={"CampaignID": read.rows, "$top": read.page_size, "$skip": skip},
                timeout=300,
            )
            answer.raise_for_status()
            if answer.content == b"[]":
                return
            yield answer


def pages(read: Read) -> Iterator[list[dict[str, Any]]]:
    return (answer.json() for answer in answers(read))


def write_json_lines(file: IO[str], rows: Iterable[dict[str, Any]]) -> None:
    for row in rows:
        file.write(json.dumps(row) + "\n")


def download(read: Read) -> Run:
    """The floor: pages as they came, one behind the other, which is no format that anybody reads."""

    def run() -> None:
        with read.file.open("wb") as file:
            for answer in answers(read):
                file.write(answer.content)

    return run


def loop_to_json_lines(read: Read) -> Run:
    def run() -> None:
        with read.file.open("w") as file:
            write_json_lines(file, chain.from_iterable(pages(read)))

    return run


def loop_to_gzip(read: Read, level: int = 9) -> Run:
    """As hard as ``gzip.open`` compresses unasked."""

    def run() -> None:
        with gzip.open(read.file, "wt", level) as file:
            write_json_lines(file, chain.from_iterable(pages(read)))

    return run


def loop_to_gzip_like_operator(read: Read) -> Run:
    """As hard as the operator compresses."""
    from airflow_provider_optimove.transfers.to_object_storage import GZIP_LEVEL

    return loop_to_gzip(read, GZIP_LEVEL)


def loop_with_dict_writer(read: Read) -> Run:
    def run() -> None:
        with read.file.open("w", newline="") as file:
            writer: csv.DictWriter[str] | None = None
            for rows in pages(read):
                if writer is None:
                    writer = csv.DictWriter(file, list(rows[0]))
                    writer.writeheader()
                writer.writerows(rows)

    return run


def loop_with_csv_writer(read: Read) -> Run:
    """Takes for granted that all rows have the fields of the first, in its order."""

    def run() -> None:
        with read.file.open("w", newline="") as file:
            writer = csv.writer(file)
            for number, rows in enumerate(pages(read)):
                if not number:
                    writer.writerow(rows[0])
                writer.writerows(row.values() for row in rows)

    return run


def loop_to_parquet(read: Read) -> Run:
    """A table a page."""
    import pyarrow
    from pyarrow import parquet

    def run() -> None:
        tables = (pyarrow.Table.from_pylist(rows) for rows in pages(read))
        first = next(tables)
        with parquet.ParquetWriter(read.file, first.schema) as writer:
            for table in chain([first], tables):
                writer.write_table(table)

    return run


def loop_to_parquet_at_once(read: Read) -> Run:
    """All rows in one table."""
    import pyarrow
    from pyarrow import parquet

    def run() -> None:
        rows = list(chain.from_iterable(pages(read)))
        parquet.write_table(pyarrow.Table.from_pylist(rows), read.file)

    return run


def loop_over_rows(read: Read) -> Run:
    def run() -> int:
        rows = 0
        for page in pages(read):
            for _ in page:
                rows += 1
        return rows

    return run


def http_operator(read: Read) -> Run:
    """The operator of the HTTP provider: it returns the texts of all pages, which the same task writes down."""
    from airflow.providers.http.operators.http import HttpOperator

    os.environ["AIRFLOW_CONN_HTTP_DEFAULT"] = json.dumps({"conn_type": "http", "host": read.server})
    skips = count(read.page_size, read.page_size)

    def next_page(answer: requests.Response) -> dict[str, Any] | None:
        return None if answer.content == b"[]" else {"data": {"$skip": next(skips)}}

    task = HttpOperator(
        task_id="task",
        endpoint=f"/current/customers/{FUNCTION}",
        method="GET",
        data={"CampaignID": read.rows, "$top": read.page_size, "$skip": 0},
        headers={"X-API-KEY": "key"},
        pagination_function=next_page,
    )

    def run() -> None:
        with read.file.open("w") as file:
            for text in task.execute({}):
                write_json_lines(file, json.loads(text))

    return run


# The provider


def connect(server: str) -> None:
    connection = {"conn_type": "optimove", "host": server, "password": "fake-key", "extra": {"rate_limit": "off"}}
    os.environ["AIRFLOW_CONN_OPTIMOVE_DEFAULT"] = json.dumps(connection)


def operator(read: Read) -> Run:
    from airflow_provider_optimove.transfers.optimove_to_object_storage import OptimoveToObjectStorageOperator

    connect(read.server)
    task = OptimoveToObjectStorageOperator(
        task_id="task",
        function=FUNCTION,
        parameters={"CampaignID": read.rows},
        path=str(read.file),
        page_size=read.page_size,
    )

    def run() -> None:
        task.execute({})

    return run


def operator_page_by_page(read: Read) -> Run:
    """The operator, but each page is asked for only when the one before is written."""
    from airflow_provider_optimove.clients import fetch_ahead

    ahead = operator(read)

    def run() -> None:
        with patch.object(fetch_ahead, "fetched_ahead", iter):
            ahead()

    return run


def hook(read: Read) -> Run:
    from airflow_provider_optimove.hooks.optimove import OptimoveHook

    connect(read.server)

    def run() -> int:
        rows = 0
        for _ in OptimoveHook().rows(FUNCTION, {"CampaignID": read.rows}, page_size=read.page_size):
            rows += 1
        return rows

    return run


CONTESTANTS: dict[str, Callable[[Read], Run]] = {
    "operator": operator,
    "operator-page-by-page": operator_page_by_page,
    "download": download,
    "loop-to-json-lines": loop_to_json_lines,
    "loop-to-gzip": loop_to_gzip,
    "loop-to-gzip-like-operator": loop_to_gzip_like_operator,
    "loop-with-dict-writer": loop_with_dict_writer,
    "loop-with-csv-writer": loop_with_csv_writer,
    "loop-to-parquet": loop_to_parquet,
    "loop-to-parquet-at-once": loop_to_parquet_at_once,
    "loop-over-rows": loop_over_rows,
    "http-operator": http_operator,
    "hook": hook,
}


# What arrived


def rows_in(file: Path) -> int:
    """How many rows a file holds; they must be those of the customers 1, 2, 3 and so on.

    :raises SystemExit: a customer is missing, comes twice or in another place.
    """
    rows = 0
    rest = b""
    for piece in _pieces(file):
        text = rest + piece
        numbers = [int(number) for number in CUSTOMER_ID.findall(text)]
        if numbers != list(range(rows + 1, rows + 1 + len(numbers))):
            raise SystemExit(f"{file.name}: not the customers that were expected after {rows:,} rows")
        rows += len(numbers)
        # What can be the beginning of an id, and not a whole one.
        rest = text[-len("C0000000") :]
    return rows


def _pieces(file: Path) -> Iterator[bytes]:
    if file.suffix == ".parquet":
        from pyarrow import parquet

        with parquet.ParquetFile(file) as opened:
            for batch in opened.iter_batches(columns=["CustomerID"]):
                yield " ".join(batch.column(0).to_pylist()).encode()
    else:
        opener = gzip.open if file.suffix == ".gz" else open
        with opener(file, "rb") as binary:
            while piece := binary.read(PIECE):
                yield piece


def main() -> None:
    name, file_format, rows, page_size, folder, server = sys.argv[1:]

    def prepared(rows: int, page_size: int) -> tuple[Run, Path]:
        file = Path(folder, f"{rows}-rows.{file_format}")
        return CONTESTANTS[name](Read(rows, page_size, file, server)), file

    prepared(FEW, FEW)[0]()
    run, file = prepared(int(rows), int(page_size))
    told = measured(run)
    if file_format != "rows":
        told |= {"returned": rows_in(file), "bytes": file.stat().st_size}
        file.unlink()
    print(json.dumps(told))


if __name__ == "__main__":
    main()
