"""Rows that are not decoded: the same rows, and the same errors, as when they are."""

from __future__ import annotations

import gc
import json
import random
import re
import weakref
from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations, pairwise
from typing import Any

import pytest

from airflow_provider_optimove.clients.http import ConnectionFailure, HttpAnswer, HttpSettings, TryAgain
from airflow_provider_optimove.clients.optimove import protocol
from airflow_provider_optimove.clients.optimove.client import OptimoveClient, OptimoveSettings
from airflow_provider_optimove.clients.optimove.functions import catalogue
from airflow_provider_optimove.clients.optimove.pages import Page, PageReader
from airflow_provider_optimove.exceptions import OptimoveInputError, OptimoveResponseError
from airflow_provider_optimove.sandbox import OptimoveSandbox

pytest_plugins = ["airflow_provider_optimove.sandbox.pytest_plugin"]

FUNCTION = catalogue()["GetCurrentlyTargetedCustomers"]
BOM = b"\xef\xbb\xbf"


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
    assert page_of(b"\xef\xbb\xbf[{}]") == Page((b"{}",), 1)


@pytest.mark.parametrize("body", [b"", b"null", b'""', b"[]", b"{}", b" [ ] \n", b"\xef\xbb\xbf[]"])
def test_no_data_is_an_empty_page(body: bytes) -> None:
    assert page_of(body) == Page((), 0)


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


# Split as they arrive


def read_in_pieces(pieces: Sequence[bytes]) -> HttpAnswer:
    reader = PageReader()
    for piece in pieces:
        reader.read(piece)
    return HttpAnswer(200, "Said", {}, *reader.end())


def outcome_of(answer: HttpAnswer) -> tuple[str, Any]:
    """What becomes of an answer; of errors their kind and words, but no numbers of bytes."""
    try:
        page = protocol.judge_page(FUNCTION, answer, login_mode=False)
    except TryAgain as again:
        return f"again: {type(again.error).__name__}", re.sub("[0-9,]+", "0", str(again.error))
    except OptimoveResponseError as error:
        return "error", re.sub("[0-9,]+", "0", str(error))
    return "page", (page.lines, page.rows)


def pieces_of(body: bytes, cuts: Iterable[int]) -> list[bytes]:
    edges = [0, *sorted(cuts), len(body)]
    return [body[start:end] for start, end in pairwise(edges) if start < end]


def assert_read_alike(body: bytes, pieces: Sequence[bytes]) -> None:
    assert b"".join(pieces) == body
    found, whole = read_in_pieces(pieces), HttpAnswer(200, "Said", {}, body)
    assert outcome_of(found) == outcome_of(whole), pieces
    # Without a second copy of a page that could be split.
    assert not (found.content and found.body)


AS_THEY_ARE = [
    *(b"", b"null", b'""', b"[]", b"{}", b" [ ] \n", BOM, BOM + b"[]", BOM + b' [{"a":1},{"b":2},{}] '),
    *(b"[{}]", b"[{},{}]", b'[{"a":1},{"a":2},{"a":3}]', b'\n[{"a":1},{"a":2} , {"a":3},\r\n{"a":4}]\n'),
    *(b'[{"a":[{"b":1},{"b":2},{"b":3}]},{"a":[[{},{}],[{},{}]]}]', b"[[{},{}],{},{}]", b"[{},{},[{},{}]]"),
    *(b'[{"a":"},{"},{"},{":"},{"},{"a":"x},{"}]', b'[{"a":"\\"},{\\""},{"a":"\\\\"},{"b":1}]'),
    *(b'[{"a":"\xc3\xa9\xe2\x80\xa8"},{"a":"\xf0\x9f\x98\x80"},{}]', b'[{"a":1e2},{"a":1.50},{"a":1.50}]'),
    *(b'{"error":"no"},{"x":1}', b'{"error":[{},{}]}', b'{"rows":[{"a":1},{"a":2}]}', b'[{"a":1},{"b":2}]]'),
    *(b"<html><body>[{},{}] Blocked</body></html>", b"Too many calls, try later", b'"[{},{},{}]"', b"7"),
    *(b"[{},{}", b'[{"a":1},{"a', b'[{"a":1},{"a":2},', b'[{"a":1},{"a":2},]', b"[{},{}]x", b"[{},{}],[{},{}]"),
    *(b"[{} {}]", b"[{},,{}]", b"[,{},{}]", b'[{"a":1}},{"b":2}]', b'[{"a":"\x01"},{}]', b"},{", b"[},{]", b"},{},{"),
    *(b'[1,{"a":1},{"a":2}]', b'[{"a":1},null,{"a":2}]', b'[{"a":1},{"a":2},"x"]', b'[{"a":1},{"a":2},["},{"]]'),
    *(b'["},{",{"a":1}]', b'[{"a":1},"},{",{"a":2}]', b'[{"a":1},{"a":2},7,{"a":3},{"a":4}]', b"[null]"),
    *(b'[{"a":"\xff"},{"a":2}]', b'[{"a":1},{"a":"\xff"}]', b'[{"a":1},{"a":2},{"\xc3":"},{"}]', b"\xff[{},{}]"),
    *(b'[{"a":"\xed\xa0\x80"},{}]', b'[{"a":1},\xef\xbb\xbf{"a":2},{}]', BOM + BOM + b"[{},{}]"),
]


@pytest.mark.parametrize("body", AS_THEY_ARE)
def test_a_body_may_be_cut_anywhere(body: bytes) -> None:
    assert_read_alike(body, pieces_of(body, ()))
    assert_read_alike(body, pieces_of(body, range(len(body))))
    for cuts in combinations(range(1, len(body)), 1 if len(body) > 45 else 2):
        assert_read_alike(body, pieces_of(body, cuts))


def damaged(seeded: random.Random, body: bytes) -> bytes:
    """Broken off, or with something that does not belong there."""
    place = seeded.randrange(len(body) + 1)
    added = seeded.choice([b"", b"7,", b",null", b"\xff", b"},{", b"]", b'"', b"\n", b",", BOM, b"[{},{}],"])
    return body[:place] + added + (body[place:] if added else b"")


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": "), (" ,\t", " :\r\n")])
@pytest.mark.parametrize("ascii_only", [False, True])
@pytest.mark.parametrize("whole", [True, False])
def test_any_rows_may_be_cut_anywhere(separators: tuple[str, str], ascii_only: bool, whole: bool) -> None:
    seeded = random.Random(2)
    for _ in range(150):
        rows = [row for _ in range(seeded.randrange(1, 4)) for row in odd_rows(seeded)]
        body = json.dumps(rows, separators=separators, ensure_ascii=ascii_only).encode()
        if not whole:
            body = damaged(seeded, body)
        for most in (1, 3, 20):
            cuts = (seeded.randrange(len(body) + 1) for _ in range(seeded.randrange(most + 1)))
            assert_read_alike(body, pieces_of(body, cuts))
        if len(body) < 300:
            assert_read_alike(body, pieces_of(body, range(len(body))))


def test_a_page_is_split_before_its_end_has_come() -> None:
    rows = [b'{"CustomerID":"C%d","Values":[1,{"x":{}},2]}' % number for number in range(1_000)]
    body = b"[" + b",".join(rows) + b"]"
    found = read_in_pieces(pieces_of(body, range(0, len(body), 1_000)))
    assert found.body == b""
    assert found.content.lines == b"\n".join(rows)
    assert len(found.content.pieces) > len(body) / 2_000
    assert max(map(len, found.content.pieces)) < 3_000


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

    def counted(*arguments: Any, **options: Any) -> Any:
        nonlocal most
        gc.collect()
        most = max(most, len(alive))
        found = Rows(protocol.judge(*arguments, **options))
        alive.add(found)
        return found

    monkeypatch.setattr(protocol, "DECODED", protocol.Reading(counted))
    function = "GetCurrentlyTargetedCustomers" if paged else "GetTargetGroupDetails"
    count = sum(1 for _ in client.rows(function, page_size=50))
    assert count > 5
    # When the next page arrives, the one before is gone.
    assert most == 0
    assert len(optimove_sandbox.calls) > (2 if paged else 0)


@pytest.mark.parametrize(
    ("pieces", "rows", "lines"),
    [((), 0, b""), ((b"{}",), 1, b"{}"), ((b'{"a":1}\n{}', b'{"b":2}', b"{}"), 4, b'{"a":1}\n{}\n{"b":2}\n{}')],
)
def test_the_lines_of_a_page(pieces: tuple[bytes, ...], rows: int, lines: bytes) -> None:
    page = Page(pieces, rows)
    assert (page.lines, len(page)) == (lines, rows)
