"""Rows that are not decoded: the same rows, and the same errors, as when they are."""

from __future__ import annotations

import gc
import json
import random
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

from airflow_provider_optimove.clients.http import ConnectionFailure, HttpAnswer, HttpSettings, TryAgain
from airflow_provider_optimove.clients.optimove import protocol
from airflow_provider_optimove.clients.optimove.client import OptimoveClient, OptimoveSettings
from airflow_provider_optimove.clients.optimove.functions import catalogue
from airflow_provider_optimove.clients.optimove.paging import Page
from airflow_provider_optimove.exceptions import OptimoveInputError, OptimoveResponseError
from airflow_provider_optimove.sandbox import OptimoveSandbox

pytest_plugins = ["airflow_provider_optimove.sandbox.pytest_plugin"]

FUNCTION = catalogue()["GetCurrentlyTargetedCustomers"]


class Rows(list[Any]):
    """A list that can be seen to be gone."""

    __hash__ = object.__hash__  # type: ignore[assignment]


ODD = ["},{", '"}\n{"', "\\", "\u2028", "é", "\U0001f600", "\x7f", "{", "}", "[]", "\\u007d,{", "\t\r\n"]


def page_of(body: bytes, status: int = 200) -> Page:
    return protocol.judge_page(FUNCTION, HttpAnswer(status, "Said", {}, body), login_mode=False)


def rows_of(body: bytes) -> Any:
    return protocol.judge(FUNCTION, HttpAnswer(200, "Said", {}, body), login_mode=False)


def odd_rows(seeded: random.Random) -> list[dict[str, Any]]:
    def value(depth: int = 0) -> Any:
        kind = seeded.randrange(8 if depth < 3 else 5)
        if kind < 5:
            return seeded.choice([None, True, 1.50, -(2**70), "".join(seeded.choices(ODD, k=3))])
        if kind < 7:
            return [value(depth + 1) for _ in range(seeded.randrange(4))]
        return {"".join(seeded.choices(ODD, k=2)): value(depth + 1) for _ in range(seeded.randrange(4))}

    return [
        {f"{seeded.choice(ODD)}{number}": value() for number in range(seeded.randrange(4))}
        for _ in range(seeded.randrange(1, 6))
    ]


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": "), (" ,\t", " :\r\n")])
@pytest.mark.parametrize("ascii_only", [False, True])
def test_any_json_becomes_lines(indent: int | None, separators: tuple[str, str], ascii_only: bool) -> None:
    seeded = random.Random(1)
    for _ in range(300):
        rows = odd_rows(seeded)
        body = json.dumps(rows, indent=indent, separators=separators, ensure_ascii=ascii_only).encode()
        page = page_of(body)
        assert len(page) == len(rows)
        lines = page.lines.split(b"\n")
        assert list(map(json.loads, lines)) == rows
        assert all(line[:1] == b"{" and line[-1:] == b"}" for line in lines)


def test_lines_are_as_they_came() -> None:
    rows = [b'{"a":1.50, "b" : "\\u00e9\\/"}', b"{}", b'{"a":1,"a":2}']
    assert page_of(b" [" + b" , ".join(rows) + b"] ").lines == b"\n".join(rows)
    assert page_of(b"\xef\xbb\xbf[{}]") == Page(b"{}", 1)


@pytest.mark.parametrize("body", [b"", b"null", b'""', b"[]", b"{}", b" [ ] \n", b"\xef\xbb\xbf[]"])
def test_no_data_is_an_empty_page(body: bytes) -> None:
    assert page_of(body) == Page(b"", 0)


@pytest.mark.parametrize(
    "body",
    [
        *(b'"The campaign is unknown"', b"<html><body>Blocked</body></html>", b"7", b"true", b'{"error":"no"}'),
        *(b"[1]", b'[{},"x"]', b"[[]]", b"[{},null]", b'["a","{"]', b"[{},[{}],{}]", b"[null]"),
    ],
)
def test_what_is_no_array_of_objects_is_the_same_error(body: bytes) -> None:
    with pytest.raises(OptimoveResponseError) as expected:
        rows_of(body)
    with pytest.raises(OptimoveResponseError) as raised:
        page_of(body)
    assert str(raised.value) == str(expected.value)


@pytest.mark.parametrize(
    "body", [b"[{}", b'[{"a":1},{"a', b'[{"a":1},]', b'[{"a":"\xff"}]', b"[{}]x", b'[{"a":"\x01"}]']
)
def test_what_is_no_json_is_fetched_again(body: bytes) -> None:
    with pytest.raises(TryAgain):
        page_of(body)


def test_failures_are_judged_alike() -> None:
    with pytest.raises(TryAgain):
        page_of(b"[{}]", status=503)
    with pytest.raises(TryAgain):
        protocol.judge_page(FUNCTION, ConnectionFailure("broken", sent=True), login_mode=False)


# Over HTTP


@pytest.fixture
def client(optimove_sandbox: OptimoveSandbox) -> Iterator[OptimoveClient]:
    http = HttpSettings(base_url=optimove_sandbox.url)
    with OptimoveClient(OptimoveSettings(http, api_key=optimove_sandbox.api_key, rate_limit="")) as client:
        yield client


def test_arguments_are_checked_before_the_first_page_is_wanted(client: OptimoveClient) -> None:
    with pytest.raises(OptimoveInputError, match="CampaignID: required"):
        client.pages("GetCustomerExecutionDetailsByCampaign")
    with pytest.raises(OptimoveInputError, match="page_size: "):
        client.pages("GetCurrentlyTargetedCustomers", page_size=200_001)
    with pytest.raises(OptimoveInputError, match=r"\$top, \$skip: all rows are read here"):
        client.pages("GetCurrentlyTargetedCustomers", {"$top": 5})
    with pytest.raises(OptimoveInputError, match="returns no rows; use call"):
        client.pages("GetLastDataUpdate")
    assert client.calls_made == 0


def test_pages_are_read_as_they_are_wanted(client: OptimoveClient, optimove_sandbox: OptimoveSandbox) -> None:
    pages = client.pages("GetCurrentlyTargetedCustomers", page_size=7)
    assert client.calls_made == 0
    first = next(pages)
    assert (client.calls_made, len(first)) == (1, 7)
    rows = [json.loads(line) for page in [first, *pages] for line in page.lines.splitlines()]
    assert rows == client.call("GetCurrentlyTargetedCustomers")
    assert {call.query["$top"] for call in optimove_sandbox.calls[:-1]} == {"7"}


def test_no_row_is_in_what_is_shown_of_a_page() -> None:
    assert repr(page_of(b'[{"CustomerID":"fake-customer"}]')) == "Page(rows=1)"


@pytest.mark.parametrize("paged", [True, False])
def test_hook_rows_keep_one_page_in_memory(
    client: OptimoveClient, optimove_sandbox: OptimoveSandbox, monkeypatch: pytest.MonkeyPatch, paged: bool
) -> None:
    alive: weakref.WeakSet[Rows] = weakref.WeakSet()
    most = 0
    judge = protocol.judge

    def counted(*arguments: Any, **options: Any) -> Any:
        nonlocal most
        gc.collect()
        most = max(most, len(alive))
        found = Rows(judge(*arguments, **options))
        alive.add(found)
        return found

    monkeypatch.setattr(protocol, "judge", counted)
    function = "GetCurrentlyTargetedCustomers" if paged else "GetTargetGroupDetails"
    count = sum(1 for _ in client.rows(function, page_size=50))
    assert count > 5
    # When the next page arrives, the one before is gone.
    assert most == 0
    assert len(optimove_sandbox.calls) > (2 if paged else 0)
