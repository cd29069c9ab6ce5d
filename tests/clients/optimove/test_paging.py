"""Paging: when to go on, when to stop, and when rows would be missing or doubled."""

from __future__ import annotations

import pytest

from airflow_provider_optimove.clients.optimove.paging import (
    DEFAULT_PAGE,
    LARGEST_PAGE,
    SERVER_PAGE,
    Paging,
    PagingIgnoredError,
)


class Server:
    """Pages of a size of its own, at most as long as asked for."""

    def __init__(self, rows: int, largest: int | None = None) -> None:
        self.rows = rows
        self.largest = largest
        self.asked: list[dict[str, int]] = []

    def page(self, parameters: dict[str, int]) -> int:
        self.asked.append(parameters)
        top = min(parameters["$top"], self.largest or parameters["$top"])
        return max(0, min(top, self.rows - parameters.get("$skip", 0)))


def read_all(server: Server, page_size: int) -> int:
    paging, rows = Paging(page_size), 0
    while not paging.finished:
        received = server.page(paging.parameters())
        paging.received(received, hash((received, rows)))
        rows += received
    return rows


def test_numbers_of_the_guide() -> None:
    assert (SERVER_PAGE, LARGEST_PAGE) == (10_000, 200_000)
    assert SERVER_PAGE <= DEFAULT_PAGE <= LARGEST_PAGE


@pytest.mark.parametrize(
    ("rows", "page_size", "skips"),
    [
        (0, 100, [None]),
        (99, 100, [None]),
        (100, 100, [None, 100]),
        (250, 100, [None, 100, 200]),
        (9_999, 50_000, [None]),
        # Whatever is as long as the server's own page may have been cut off by it.
        (10_000, 50_000, [None, 10_000]),
        (12_000, 50_000, [None, 12_000]),
        (50_000, 50_000, [None, 50_000]),
        (110_000, 50_000, [None, 50_000, 100_000, 110_000]),
        (10_000, 10_000, [None, 10_000]),
        (200_001, 200_000, [None, 200_000]),
        (3, 1, [None, 1, 2, 3]),
    ],
)
def test_calls(rows: int, page_size: int, skips: list[int | None]) -> None:
    server = Server(rows)
    assert read_all(server, page_size) == rows
    assert [asked.get("$skip") for asked in server.asked] == skips
    assert all(asked["$top"] == page_size for asked in server.asked), "$top is sent with every call"


@pytest.mark.parametrize("rows", [0, 1, 9_999, 10_000, 10_001, 20_000, 25_000, 61_234])
@pytest.mark.parametrize("largest", [10_000, 20_000, 49_999])
def test_a_server_with_shorter_pages_loses_nothing(rows: int, largest: int) -> None:
    server = Server(rows, largest)
    assert read_all(server, 50_000) == rows
    skipped = [asked.get("$skip", 0) for asked in server.asked]
    assert skipped == sorted(set(skipped)), "it advances by the rows received"


def test_a_page_that_comes_again() -> None:
    paging = Paging(2)
    paging.received(2, 12)
    with pytest.raises(PagingIgnoredError, match=r"after 2 rows.*\$skip"):
        paging.received(2, 12)


def test_a_page_may_come_again_later() -> None:
    paging = Paging(2)
    for checksum in (12, 34, 12):
        paging.received(2, checksum)
    assert paging.received_rows == 6


def test_a_server_that_ignores_skip_is_found_out_on_the_last_page_too() -> None:
    paging = Paging(50_000)
    paging.received(10_000, 12)
    with pytest.raises(PagingIgnoredError):
        paging.received(10_000, 12)


@pytest.mark.parametrize("page_size", [1, 100, 10_000])
def test_more_rows_than_asked_for(page_size: int) -> None:
    with pytest.raises(PagingIgnoredError, match=rf"asked for {page_size:,} rows, received {page_size + 1:,}.*\$top"):
        Paging(page_size).received(page_size + 1, 12)


def test_an_empty_page_is_the_last() -> None:
    paging = Paging(2)
    paging.received(2, 12)
    assert not paging.finished
    paging.received(0, 0)
    assert paging.finished


@pytest.mark.parametrize("rows", [0, 5, 9_999, 10_001, 300_000])
def test_without_paging_one_call_has_all_rows(rows: int) -> None:
    paging = Paging(100, unpaged=True)
    assert paging.parameters() == {}
    paging.received(rows, 12)
    assert paging.finished


def test_without_paging_exactly_the_servers_page_may_be_cut_off() -> None:
    with pytest.raises(PagingIgnoredError, match="10,000 rows: some may be missing"):
        Paging(100, unpaged=True).received(10_000, 12)
