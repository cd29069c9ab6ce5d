"""RowFile: every format, cut anywhere, whole or broken."""

from __future__ import annotations

import csv
import gzip
import importlib
import io
import json
import random
import re
import string
import sys
import tracemalloc
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem
from pyarrow import parquet

from airflow_provider_optimove.clients.optimove.rows import Objects, Table, Unreadable
from airflow_provider_optimove.exceptions import OptimoveInputError
from airflow_provider_optimove.storage import paths, row_files
from airflow_provider_optimove.storage.formats import NO_PYARROW
from airflow_provider_optimove.storage.row_files import ENDINGS, RowFile, is_path

ROWS = [{"CustomerID": "C1", "Status": "ok"}, {"CustomerID": "C2", "Status": 'Grüße, "你" 🎉'}]
BOM = b"\xef\xbb\xbf"


def as_json_lines(rows: list[Any]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def as_csv(rows: list[dict[str, Any]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def as_parquet(rows: list[dict[str, Any]]) -> bytes:
    file = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(rows), file)
    return file.getvalue()


WRITERS: dict[str, Callable[[list[dict[str, Any]]], bytes]] = {
    "jsonl": as_json_lines,
    "ndjson": as_json_lines,
    "json": lambda rows: json.dumps(rows).encode(),
    "csv": as_csv,
    "parquet": as_parquet,
}


def written(ending: str, rows: list[dict[str, Any]]) -> bytes:
    content = WRITERS[ending.strip(".").split(".")[0]](rows)
    return gzip.compress(content) if ending.endswith(".gz") else content


@pytest.fixture
def row_file(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, bytes], RowFile]:
    """A file of that ending and content."""
    folder = tmp_path_factory.mktemp("files")

    def write(ending: str, content: bytes) -> RowFile:
        path = folder / f"rows{ending}"
        path.write_bytes(content)
        return RowFile(str(path))

    return write


Write = Callable[[str, bytes], RowFile]


def dicts(table: Table) -> list[dict[str, Any]]:
    return [dict(zip(table.names, values, strict=True)) for values in zip(*table.columns, strict=True)]


def rows_of(file: RowFile) -> list[Any]:
    rows: list[Any] = []
    for stretch in file:
        new = dicts(stretch) if isinstance(stretch, Table) else stretch.rows
        assert len(new) == len(stretch) > 0
        rows += new
    return rows


def error_of(file: RowFile) -> str:
    with pytest.raises(OptimoveInputError) as raised:
        rows_of(file)
    return str(raised.value)


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> MemoryFileSystem:
    """An object storage of its own, known to Airflow as memory:// and, with the connection `store`, too."""
    try:
        store: Any = importlib.import_module("airflow.sdk.io.store")
    except ImportError:
        store = importlib.import_module("airflow.io.store")
    files = MemoryFileSystem()
    monkeypatch.setattr(MemoryFileSystem, "store", {})
    for alias, conn_id in [("memory", None), ("memory-store", "store")]:
        monkeypatch.setitem(store._STORE_CACHE, alias, store.ObjectStore("memory", conn_id, fs=files))
    return files


# What is a path


@pytest.mark.parametrize("ending", [*ENDINGS, ".CSV", ".Jsonl.GZ"])
def test_is_path(ending: str) -> None:
    assert is_path(f"s3://bucket/rows{ending}")


@pytest.mark.parametrize("text", ["", "csv", "rows.txt", "rows.csv.zip", "[{}]", "rows.parquet.gz", "rows.csv "])
def test_is_no_path(text: str) -> None:
    assert not is_path(text)
    assert "ends with none of .jsonl, .ndjson, " in error_of(RowFile(text))


# Where files are


@pytest.mark.parametrize("ending", [*ENDINGS, ".CSV", ".Jsonl.GZ"])
def test_every_format_can_be_read_twice(row_file: Write, ending: str) -> None:
    file = row_file(ending, written(ending.lower(), ROWS))
    assert rows_of(file) == rows_of(file) == ROWS


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("conn_id", [None, "store"])
def test_object_storage(memory: MemoryFileSystem, ending: str, conn_id: str | None) -> None:
    memory.pipe(f"/bucket/rows{ending}", written(ending, ROWS))
    file = RowFile(f"memory://bucket/rows{ending}", conn_id)
    assert rows_of(file) == rows_of(file) == ROWS


def test_connection_is_used(memory: MemoryFileSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str | None] = []
    sdk = importlib.import_module("airflow.providers.common.compat.sdk")
    original = sdk.ObjectStoragePath
    memory.pipe("/bucket/rows.csv", as_csv(ROWS))

    def path(text: str, *, conn_id: str | None) -> Any:
        seen.append(conn_id)
        return original(text, conn_id=conn_id)

    monkeypatch.setattr(sdk, "ObjectStoragePath", path, raising=False)
    assert rows_of(RowFile("memory://bucket/rows.csv", "store")) == ROWS
    assert seen == ["store"]


@pytest.mark.parametrize("path", ["rows.csv", "./rows.csv", "~/rows.csv", "file://{}/rows.csv", "a:1 #2?3@4%.csv"])
def test_local_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / path.rpartition("/")[2]).write_bytes(as_csv(ROWS))
    assert rows_of(RowFile(path.format(tmp_path))) == ROWS


@pytest.mark.parametrize("ending", ENDINGS)
def test_missing_file(tmp_path: Path, memory: MemoryFileSystem, ending: str) -> None:
    for path in (f"{tmp_path}/rows{ending}", f"memory://bucket/rows{ending}"):
        with pytest.raises(FileNotFoundError):
            rows_of(RowFile(path))


@pytest.mark.parametrize(
    "path", ["s3://user:s3cret@bucket/rows.csv", "s3://user:s3/cr/et@bucket/a:b@rows.csv", "s3://:s3cret@b/r.csv"]
)
@pytest.mark.parametrize("conn_id", [None, "store"])
def test_credentials_in_a_path(path: str, conn_id: str | None) -> None:
    error = error_of(RowFile(path, conn_id))
    assert "s3://***@" in error
    assert "credentials do not belong into a path" in error
    assert not any(part in error for part in ("user", "s3cret", "cr/", "et@"))


def test_user_info_is_not_shown(memory: MemoryFileSystem) -> None:
    memory.pipe("/bucket/a@b.csv", b"a,a\n")
    assert error_of(RowFile("memory://store@bucket/a@b.csv")).startswith("memory://***@bucket/a@b.csv: ")
    assert error_of(RowFile("memory://bucket/a@b.csv")).startswith("memory://bucket/a@b.csv: ")


@pytest.mark.parametrize("path", ["hdfs://host:8020/a@b.csv", "memory://bucket/a:b@c.csv", "/data/a:b@c.csv"])
def test_no_credentials(path: str) -> None:
    assert not paths.CREDENTIALS.search(path)


# Closing


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """All local files that are opened."""
    files: list[Any] = []
    original = LocalFileSystem._open

    def recorded(self: LocalFileSystem, *arguments: Any, **options: Any) -> Any:
        files.append(original(self, *arguments, **options))
        return files[-1]

    monkeypatch.setattr(LocalFileSystem, "_open", recorded)
    return files


@pytest.mark.parametrize("ending", ENDINGS)
def test_files_are_closed(row_file: Write, opened: list[Any], ending: str) -> None:
    file = row_file(ending, written(ending, ROWS))
    rows_of(file)
    abandoned = iter(file)
    next(abandoned)
    assert [one.closed for one in opened] == [True, False]
    abandoned.close()  # type: ignore[attr-defined]
    assert [one.closed for one in opened] == [True, True]


@pytest.mark.parametrize("ending", [".json", ".csv", ".parquet", ".csv.gz", ".json.gz"])
def test_files_are_closed_on_errors(row_file: Write, opened: list[Any], ending: str) -> None:
    error_of(row_file(ending, b"broken,broken\n"))
    assert [one.closed for one in opened] == [True]


# JSON Lines


@pytest.mark.parametrize("block", [1, 2, 3, 7, 64, 1000])
@pytest.mark.parametrize("seed", range(5))
def test_json_lines_in_blocks(row_file: Write, monkeypatch: pytest.MonkeyPatch, block: int, seed: int) -> None:
    made = random.Random(seed)
    rows = [made_value(made, 2) for _ in range(50)]
    ascii_only = made.random() < 0.5
    content = BOM if made.random() < 0.5 else b""
    for row in rows:
        content += json.dumps(row, ensure_ascii=ascii_only).encode() + made.choice([b"\n", b"\r\n", b"\n \n\r\n"])
    content = content.rstrip() if made.random() < 0.5 else content
    monkeypatch.setattr(row_files, "BLOCK_BYTES", block)
    assert rows_of(row_file(".jsonl", content)) == rows


@pytest.mark.parametrize("content", [b"", b"\n", b" \r\n\n", BOM, BOM + b"\n"])
def test_json_lines_without_rows(row_file: Write, content: bytes) -> None:
    assert rows_of(row_file(".jsonl", content)) == rows_of(row_file(".json", content)) == []


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"a": secret}', "malformed: invalid character (byte 6)"),
        (b'{"a": "secret', "truncated"),
        (b'{"a": 1} {"a": 2}', "trailing characters"),
        (b'{"a":\n1}', "truncated"),
        (b'"secret\xff"', "invalid start byte"),
        (b'"\\ud83d"', "truncated"),
        (b"\xff", "invalid character"),
        (b"NaN", "invalid character"),
        (b"1e999", "out of range"),
        (b"9" * 5000, "out of range"),
        (b"[" * 100_000, "recursion"),
    ],
)
@pytest.mark.parametrize("block", [1, 30, 1_000_000])
def test_unreadable_lines(
    row_file: Write, monkeypatch: pytest.MonkeyPatch, line: bytes, reason: str, block: int
) -> None:
    monkeypatch.setattr(row_files, "BLOCK_BYTES", block)
    for end in (b"\n", b""):
        first, second, bad, *others = rows_of(row_file(".jsonl", b'{"n": 1}\n{"n": 2}\n' + line + end))
        assert (first, second) == ({"n": 1}, {"n": 2})
        assert isinstance(bad, Unreadable)
        assert bad.reason.startswith("not valid JSON: ")
        assert reason in bad.reason
        assert "secret" not in bad.reason
        assert len(others) == line.count(b"\n")
    after = rows_of(row_file(".jsonl", line + b'\n{"n": 3}\n'))
    assert isinstance(after[0], Unreadable)
    assert after[-1] == {"n": 3}


def test_json_lines_are_read_in_blocks(row_file: Write) -> None:
    stretches = list(row_file(".jsonl", as_json_lines(ROWS * 10_000)))
    assert all(isinstance(stretch, Objects) for stretch in stretches)
    assert 5 < len(stretches) < 50


@pytest.mark.parametrize("start", [b"", BOM, b" \n", BOM + b"\r\n  "])
@pytest.mark.parametrize("block", [1, 4, 1000])
def test_json_lines_in_a_json_file(row_file: Write, monkeypatch: pytest.MonkeyPatch, start: bytes, block: int) -> None:
    monkeypatch.setattr(row_files, "BLOCK_BYTES", block)
    assert rows_of(row_file(".json", start + as_json_lines(ROWS))) == ROWS
    assert isinstance(rows_of(row_file(".json", start + as_json_lines(ROWS) + b"{"))[2], Unreadable)


# JSON arrays


def made_text(made: random.Random) -> str:
    alphabet = [*string.ascii_letters, *'"\\/\n\r\t\x00\x7f{}[],:}, ', "},", "],", "é", "你", "🎉", "\u2028"]
    return "".join(made.choices(alphabet, k=made.choice([0, 1, 5, 40])))


def made_value(made: random.Random, depth: int) -> Any:
    kind = made.randrange(8 if depth else 6)
    if kind == 0:
        return made.choice([True, False, None])
    if kind == 1:
        return made.choice([0, -1, 12345, 10**18, -(10**25)])
    if kind == 2:
        return made.choice([0.5, -1.25e-9, 6.02e23, 1e100, 123.456])
    if kind in (3, 4, 5):
        return made_text(made)
    size = made.randrange(4)
    if kind == 6:
        return [made_value(made, depth - 1) for _ in range(size)]
    return {made_text(made): made_value(made, depth - 1) for _ in range(size)}


def spaced(made: random.Random, text: str) -> str:
    """The same with white space around the tokens between the elements."""
    space = "".join(made.choices(" \t\r\n", k=made.choice([0, 0, 1, 3, 50])))
    return space + text + space


@pytest.mark.parametrize("block", [1, 2, 3, 7, 64, 1000])
@pytest.mark.parametrize("kind", ["values", "flat objects", "nested objects"])
@pytest.mark.parametrize("seed", range(3))
def test_arrays_in_blocks(row_file: Write, monkeypatch: pytest.MonkeyPatch, block: int, kind: str, seed: int) -> None:
    made = random.Random(seed)
    depth = 1 if kind == "nested objects" else 0
    rows = [
        made_value(made, 2) if kind == "values" else {name: made_value(made, depth) for name in ("a", "b", "c")}
        for _ in range(60)
    ]
    options = {"indent": made.choice([None, 2]), "ensure_ascii": made.random() < 0.5}
    elements = [json.dumps(row, **options) for row in rows]  # type: ignore[arg-type]
    text = "[" + ",".join(spaced(made, element) for element in elements) + "]"
    content = made.choice([BOM, b""]) + spaced(made, text).encode()
    assert json.loads(content.decode("utf-8-sig")) == rows
    monkeypatch.setattr(row_files, "BLOCK_BYTES", block)
    assert rows_of(row_file(".json", content)) == rows


def test_every_cut_of_every_token(row_file: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    content = rb'[ -12.5e+3 , true,false , null, "\ud83d\ude00\"\\", 0.1, [ ] , {} , {"a" : [1, {"b": "},{"}, 2] } ] '
    rows = json.loads(content)
    for block in range(1, len(content) + 1):
        monkeypatch.setattr(row_files, "BLOCK_BYTES", block)
        assert rows_of(row_file(".json", content)) == rows, block


def test_stretches_of_an_array(row_file: Write) -> None:
    rows = ROWS * 10_000
    file = row_file(".json", json.dumps(rows).encode())
    stretches = list(file)
    assert all(isinstance(stretch, Objects) for stretch in stretches)
    assert 5 < len(stretches) < 50
    assert rows_of(file) == rows


def test_elements_longer_than_blocks(row_file: Write) -> None:
    rows = ["x" * 1_000_000, {"a": [{"b": n} for n in range(100_000)]}, 1]
    assert rows_of(row_file(".json", json.dumps(rows).encode())) == rows


def test_long_elements_are_tried_a_few_times_only(row_file: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    lengths: list[int] = []
    original = row_files._elements_at_once

    def counted(text: str) -> tuple[list[Any], int]:
        lengths.append(len(text))
        return original(text)

    monkeypatch.setattr(row_files, "_elements_at_once", counted)
    monkeypatch.setattr(row_files, "BLOCK_BYTES", 100)
    assert rows_of(row_file(".json", json.dumps(["x" * 100_000]).encode())) == ["x" * 100_000]
    assert len(lengths) < 20


@pytest.mark.parametrize("content", [b"[]", b" [ ] \n", BOM + b"[\n\n]"])
@pytest.mark.parametrize("block", [1, 1000])
def test_empty_arrays(row_file: Write, monkeypatch: pytest.MonkeyPatch, content: bytes, block: int) -> None:
    monkeypatch.setattr(row_files, "BLOCK_BYTES", block)
    assert rows_of(row_file(".json", content)) == []


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"[", "row 1 cannot be read: the array is not closed"),
        (b"[ \n", "row 1 cannot be read: the array is not closed"),
        (b'[{"a": 1}, ', "row 2 cannot be read: the array is not closed"),
        (b'[{"a": 1}, {"a": 2} \n', "row 2 cannot be read: Expecting ',' delimiter: character 11 of the row"),
        (b'[{"a": 1}, {"a": "secret', "row 2 cannot be read: Unterminated string"),
        (b'[{"a": 1}, {"a": secret}, {"a": 3}]', "row 2 cannot be read: Expecting value: character 7 of the row"),
        (b'[{"a": 1} {"a": 2}]', "row 1 cannot be read: Expecting ',' delimiter: character 10 of the row"),
        (b'[{"a": 1},]', "row 2 cannot be read: Expecting value"),
        (b'[{"a": 1}, , 2]', "row 2 cannot be read: Expecting value"),
        (b"[1 2]", "row 1 cannot be read: Expecting ',' delimiter: character 3 of the row"),
        (b"[,1]", "row 1 cannot be read: Expecting value"),
        (b'[{"a": 1}]]', "row 2 cannot be read: something follows the end of the array"),
        (b'[{"a": 1}] {', "row 2 cannot be read: something follows the end of the array"),
        (b"[] []", "row 1 cannot be read: something follows the end of the array"),
        (b'["a\xe9"]', "row 1 cannot be read: not UTF-8"),
        (b"[1, " + b"[" * 100_000, "row 2 cannot be read: maximum recursion depth"),
        (b'[{"a": 1}, ' + b"[" * 100_000 + b"},", "row 2 cannot be read: maximum recursion depth"),
        (b"[1, " + b"9" * 5000 + b"]", "row 2 cannot be read: Exceeds the limit"),
        (b'"text"', "row 1 cannot be read: the file is neither a JSON array nor JSON Lines"),
        ("[1]".encode("utf-16"), "row 1 cannot be read: the file is neither a JSON array nor JSON Lines"),
    ],
)
@pytest.mark.parametrize("block", [1, 5, 1_000_000])
def test_broken_arrays(
    row_file: Write, monkeypatch: pytest.MonkeyPatch, content: bytes, problem: str, block: int
) -> None:
    monkeypatch.setattr(row_files, "BLOCK_BYTES", block)
    error = error_of(row_file(".json", content))
    assert f"rows.json: {problem}" in error
    assert "secret" not in error


def test_rows_before_the_break_are_read(row_file: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_files, "BLOCK_BYTES", 100)
    numbers: list[Any] = []
    rows = json.dumps([{"n": n} for n in range(1, 1001)])
    with pytest.raises(OptimoveInputError, match="row 1,001 cannot be read: Expecting value: character 7 of"):
        numbers += (
            row["n"]
            for stretch in row_file(".json", f'{rows[:-1]}, {{"n": ?}}, {rows[1:]}'.encode())
            if isinstance(stretch, Objects)
            for row in stretch.rows
        )
    assert numbers == list(range(1, 1001))


def test_a_break_ends_the_reading(memory: MemoryFileSystem) -> None:
    memory.pipe("/bucket/rows.json", b'[{"a": 1}, {"a": ?},' + as_json_lines(ROWS * 20_000))
    error_of(RowFile("memory://bucket/rows.json"))
    assert 0 < memory.store["/bucket/rows.json"].tell() < 300_000


@pytest.mark.parametrize("element", [b'"\\ud83d"', b"NaN", b"-Infinity", b'{"a": 1e999}', b'{"\\ude00": 1}'])
def test_elements_that_are_no_json_for_others(row_file: Write, element: bytes) -> None:
    first, bad, last = rows_of(row_file(".json", b'[{"a": 1}, ' + element + b', {"a": 3}]'))
    assert (first, last) == ({"a": 1}, {"a": 3})
    assert isinstance(bad, Unreadable)
    assert bad.reason.startswith("not valid JSON: ")


# CSV


@pytest.mark.parametrize("rows_a_stretch", [1, 2, 3, 500])
@pytest.mark.parametrize("seed", range(5))
def test_csv_as_the_standard_library_reads_it(
    row_file: Write, monkeypatch: pytest.MonkeyPatch, rows_a_stretch: int, seed: int
) -> None:
    made = random.Random(seed)
    names = ["CustomerID", "Grüße", "a b"]
    rows = [{name: made_text(made).replace("\x00", "") for name in names} for _ in range(100)]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(
        text,
        names,
        lineterminator=made.choice(["\n", "\r\n"]),
        quoting=made.choice([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    )
    writer.writeheader()
    writer.writerows(rows)
    content = text.getvalue().encode(made.choice(["utf-8", "utf-8-sig"]))
    monkeypatch.setattr(row_files, "CSV_ROWS", rows_a_stretch)
    file = row_file(".csv", content)
    assert rows_of(file) == rows
    for stretch in file:
        assert isinstance(stretch, Table)
        assert stretch.text
        assert stretch.names == tuple(names)
        assert len(stretch) <= rows_a_stretch


def test_csv_header_and_empty_lines(row_file: Write) -> None:
    file = row_file(".csv", b'\n\r\n CustomerID ,Status \r\n\r\nC1, 1 \n\n"",\nC3,3')
    assert rows_of(file) == [
        {"CustomerID": "C1", "Status": " 1 "},
        {"CustomerID": "", "Status": ""},
        {"CustomerID": "C3", "Status": "3"},
    ]


@pytest.mark.parametrize("content", [b"CustomerID,Status", b"CustomerID,Status\r\n\r\n", b'"CustomerID",Status\n'])
def test_csv_without_rows(row_file: Write, content: bytes) -> None:
    assert rows_of(row_file(".csv", content)) == []


@pytest.mark.parametrize("content", [b"", BOM, b"\n\r\n", b"\n", b"\r", b"\r\r\n"])
def test_csv_without_header(row_file: Write, content: bytes) -> None:
    """An export that broke off, most likely."""
    assert error_of(row_file(".csv", content)).endswith("rows.csv: the file is empty, and has not even a header")


@pytest.mark.parametrize("quoted", [False, True])
def test_csv_rows_of_another_width(row_file: Write, monkeypatch: pytest.MonkeyPatch, quoted: bool) -> None:
    monkeypatch.setattr(row_files, "CSV_ROWS", 3)
    monkeypatch.setattr(row_files, "CSV_BLOCK_BYTES", 16)
    head = b'"a",b\n' if quoted else b"a,b\n"
    first, second, *others = row_file(".csv", head + b"1,2\n1,\n3,4\n5,\n6\n7,8,9\n0,0\n")
    assert isinstance(first, Table)
    assert dicts(first) == [{"a": "1", "b": "2"}, {"a": "1", "b": ""}, {"a": "3", "b": "4"}]
    bad = [{"a": "5"}, Unreadable("1 cell, the header has 2"), Unreadable("3 cells, the header has 2")]
    if quoted:
        (third,) = others
        assert second == Objects(bad)
        assert isinstance(third, Table)
        assert dicts(third) == [{"a": "0", "b": "0"}]
    else:
        assert second == Objects([*bad, {"a": "0", "b": "0"}])
        assert others == []


@pytest.mark.parametrize("block", [5, 16, 1000])
@pytest.mark.parametrize("seed", range(20))
def test_csv_without_quotes_as_the_standard_library_reads_it(
    row_file: Write, monkeypatch: pytest.MonkeyPatch, block: int, seed: int
) -> None:
    monkeypatch.setattr(row_files, "CSV_BLOCK_BYTES", block)
    made = random.Random(seed)
    width = made.choice([1, 2, 3])
    end = made.choice(["\n", "\r\n"])
    lines = [",".join(made.choice(["", "x", "é y", "12"]) for _ in range(width)) for _ in range(made.randrange(40))]
    lines += made.choice([[], [""], ["1" + ",2" * width]])
    text = end.join([",".join("abc"[:width]), *lines]) + made.choice(["", end])
    rows = [row for row in csv.reader(io.StringIO(text, newline="")) if row][1:]
    expected = [dict(zip("abc", row, strict=False)) if len(row) == width else None for row in rows]
    found = rows_of(row_file(".csv", text.encode()))
    assert [None if isinstance(row, Unreadable) else {"a": "", "b": "", "c": "", **row} for row in found] == [
        None if row is None else {"a": "", "b": "", "c": "", **row} for row in expected
    ]


@pytest.mark.parametrize("line", [b"1", b"1,2,3"])
def test_csv_where_all_rows_have_another_width(row_file: Write, line: bytes) -> None:
    rows = rows_of(row_file(".csv", b"a,b\n" + (line + b"\n") * 3))
    assert rows == [Unreadable(f"{len(line.split(b','))} cell{'s' * (len(line) > 1)}, the header has 2")] * 3


@pytest.mark.parametrize(
    ("header", "problems"),
    [
        (b"a,b, A ,b", ["columns 1 and 3 have the same name: A", "columns 2 and 4 have the same name: b"]),
        (b"a,,b, ", ["column 2 has no name", "column 4 has no name"]),
        (b"CustomerID;Status", ["the columns must be separated by commas"]),
        (b"CustomerID\tStatus", ["the columns must be separated by commas"]),
    ],
)
def test_csv_headers_that_are_not_valid(row_file: Write, header: bytes, problems: list[str]) -> None:
    with pytest.raises(OptimoveInputError, match=r"rows\.csv: the header is not valid") as raised:
        rows_of(row_file(".csv", header + b"\n1,2,3,4\n"))
    assert list(raised.value.problems) == problems


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'"' + b"x" * 200_000 + b'",1', "field larger than field limit (131072)"),
        (b'"secret"s,1', "',' expected after '\"'"),
        (b'"secret,1', "unexpected end of data"),
        ("Grüße,1".encode("latin-1"), "not UTF-8"),
    ],
)
def test_broken_csv(row_file: Write, line: bytes, reason: str) -> None:
    # 22,000 bytes before it: text is decoded further than rows are read.
    error = error_of(row_file(".csv", b"a,b\n" + b"1234567,90\n" * 2000 + line))
    assert re.search(r"rows\.csv: line 2,002 cannot be read \(row (1,001|1,501|2,001) or a later one\): ", error)
    assert error.endswith(reason)
    assert "secret" not in error


def test_csv_of_another_encoding(row_file: Write) -> None:
    error = error_of(row_file(".csv", "a,b\n1,2\n".encode("utf-16")))
    assert error.endswith("rows.csv: line 1 cannot be read (row 1 or a later one): not UTF-8")


# Parquet


def test_parquet(row_file: Write) -> None:
    rows = [
        {"CustomerID": f"C{n}", "n": n, "part": n / 2, "day": date(2026, 11, 20), "tags": ["a"], "more": {"x": None}}
        for n in range(2500)
    ]
    file = row_file(".parquet", as_parquet(rows))
    stretches = list(file)
    assert [len(stretch) for stretch in stretches] == [1000, 1000, 500]
    assert not any(stretch.text for stretch in stretches if isinstance(stretch, Table))
    assert rows_of(file) == rows


def test_parquet_without_rows(row_file: Write) -> None:
    file = io.BytesIO()
    parquet.write_table(pyarrow.table({"a": pyarrow.array([], pyarrow.string())}), file)
    assert rows_of(row_file(".parquet", file.getvalue())) == []


@pytest.mark.parametrize("content", [b"", b"PAR1", b"a,b\n1,2\n" * 100, as_parquet(ROWS)[:-20]])
def test_no_parquet(row_file: Write, content: bytes) -> None:
    assert "rows.parquet: row 1 or a later one cannot be read: " in error_of(row_file(".parquet", content))


def test_parquet_headers_that_are_not_valid(row_file: Write) -> None:
    error = error_of(row_file(".parquet", as_parquet([{"a": 1, "A": 2}])))
    assert "rows.parquet: the header is not valid\n  columns 1 and 2 have the same name: A" in error
    assert "cannot be read" not in error


def test_parquet_without_pyarrow(row_file: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    error = error_of(row_file(".parquet", as_parquet(ROWS)))
    assert error.endswith(f"/rows.parquet: {NO_PYARROW}")


# gzip

ZIPPED = [ending for ending in ENDINGS if ending.endswith(".gz")]


@pytest.mark.parametrize("ending", ZIPPED)
def test_gzip_in_parts(row_file: Write, ending: str) -> None:
    content = WRITERS[ending.split(".")[1]](ROWS)
    parts = [content[:1], b"", content[1:2], content[2:30], content[30:]]
    assert rows_of(row_file(ending, b"".join(map(gzip.compress, parts)))) == ROWS


@pytest.mark.parametrize("ending", ZIPPED)
@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[: len(content) // 2],
        lambda content: content[:-4],
        lambda content: content[:5],
        lambda content: content[:-8] + b"\0" * 8,
        lambda content: content[:10] + b"\xff" * 20 + content[30:],
        lambda content: gzip.decompress(content),
        lambda content: content + b"junk",
    ],
)
def test_broken_gzip(row_file: Write, ending: str, damage: Callable[[bytes], bytes]) -> None:
    made = random.Random(0)
    rows = [{"CustomerID": made.random()} for _ in range(20_000)]
    error = error_of(row_file(ending, damage(written(ending, rows))))
    assert f"rows{ending}: the gzip file is damaged or cut off" in error


# Memory


@pytest.mark.parametrize("ending", [".jsonl", ".json", ".csv", ".csv.gz", ".json.gz"])
@pytest.mark.parametrize("nested", [False, True])
def test_memory_is_bounded(row_file: Write, ending: str, nested: bool) -> None:
    row: dict[str, Any] = {
        "CustomerID": "C12345678",
        "CampaignID": {"x": [{}, {}]} if nested else 123,
        "Status": "x" * 50,
    }
    content = written(ending, [row] * 20_000)
    file = row_file(ending, content)
    del content
    next(iter(file))  # what is loaded once
    tracemalloc.start()
    try:
        count = sum(map(len, file))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == 20_000
    assert peak < 2_500_000
