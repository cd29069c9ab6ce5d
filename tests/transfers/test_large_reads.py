"""A million rows and more: each arrives once and in its place, in memory that does not grow with their number."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.benchmarks.measuring import server, told_by

FEWER, MORE = 1_000_000, 4_000_000
WORST_GROWTH = 30_000_000  # bytes


@pytest.fixture(scope="module")
def page_server() -> Iterator[str]:
    """Where a campaign has as many rows as its number says."""
    with server("page_server", "--rows", str(MORE)) as address:
        yield address


@pytest.mark.parametrize("file_format", ["jsonl", "csv", "parquet"])
def test_memory_does_not_grow_with_the_rows(page_server: str, tmp_path: Path, file_format: str) -> None:
    if sys.platform != "linux":
        pytest.skip("tells memory in another way")
    memory = {}
    for rows in (FEWER, MORE):
        options = ["operator", file_format, str(rows), "50000", str(tmp_path), page_server]
        told = told_by("read_contestant", *options, home=tmp_path)
        # It counts only when all customers are there in their order.
        assert told["returned"] == rows
        memory[rows] = told["memory"]
    assert memory[FEWER] > 0
    assert memory[MORE] - memory[FEWER] < WORST_GROWTH
