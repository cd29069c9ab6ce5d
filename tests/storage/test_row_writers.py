"""Writers of rows: every format, whatever the rows hold and wherever pages are cut."""

from __future__ import annotations

import csv
import gc
import gzip
import io
import json
import random
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import pytest
from pyarrow import parquet

from airflow_provider_optimove.exceptions import OptimoveInputError
from airflow_provider_optimove.storage import row_writers, shaping
from airflow_provider_optimove.storage.formats import FileFormat
from airflow_provider_optimove.storage.row_writers import row_writer
from airflow_provider_optimove.storage.shaping import FieldDecoder, FileLayout, Kind

FIELDS: dict[str, Kind] = {
    "CustomerID": "text",
    "ActionID": "integer",
    "FutureValue": "number",
    "Active": "boolean",
    "Day": "date",
    "ScheduleTime": "time",
    "Details": "json",
    "CustomerAttributes": "json",
}
ATTRIBUTES = FileLayout(
    {"CustomerID": "text", "CustomerAttributes": "json"},
    list_field="CustomerAttributes",
    list_names=("Alias", "Country"),
)
TWO_FIELDS = FileLayout({"CustomerID": "text", "ActionID": "integer"})

Page = tuple[bytes, Mapping[str, Any]]


def written(file_format: FileFormat, layout: FileLayout, *pages: bytes | Page) -> bytes:
    file = io.BytesIO()
    writer = row_writer(file, file_format, layout)
    for page in pages:
        if isinstance(page, bytes):
            writer.write(page)
        else:
            writer.write(*page)
    writer.finish()
    assert not file.closed
    return file.getvalue()


def lines_of(*rows: Mapping[str, Any]) -> bytes:
    return "\n".join(json.dumps(row, ensure_ascii=False) for row in rows).encode()


def as_objects(content: bytes) -> list[Any]:
    assert not content or content.endswith(b"\n")
    return [json.loads(line, parse_float=Decimal) for line in content.splitlines()]


def as_table(content: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(content.decode(), newline=""), strict=True))


def as_rows(content: bytes) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = parquet.read_table(io.BytesIO(content)).to_pylist()
    return rows


def refused(layout: FileLayout) -> tuple[str, ...]:
    with pytest.raises(OptimoveInputError) as raised:
        layout.check()
    return raised.value.problems


class TestJsonLines:
    def test_rows_are_written_as_they_came(self) -> None:
        pages = [b'{"a": 1.50,"a":2}\n{}', b"", b"these are not looked at \xff"]
        assert written("jsonl", TWO_FIELDS, *pages) == pages[0] + b"\n" + pages[2] + b"\n"

    def test_no_rows_are_an_empty_file(self) -> None:
        assert written("jsonl", TWO_FIELDS) == written("jsonl", ATTRIBUTES, b"") == b""

    def test_a_gzip_file_is_written_to(self) -> None:
        file = io.BytesIO()
        with gzip.GzipFile(fileobj=file, mode="wb") as zipped:
            writer = row_writer(zipped, "jsonl", TWO_FIELDS)
            writer.write(b'{"a":1}')
            writer.finish()
        assert gzip.decompress(file.getvalue()) == b'{"a":1}\n'

    def test_constants_stand_in_front(self) -> None:
        layout = FileLayout(TWO_FIELDS.fields, constants={"CampaignID": "integer", "Date": "date"})
        content = written(
            "jsonl",
            layout,
            (b'{"a":1.50}\n{"b":"}\\n{\\"x"}', {"CampaignID": 221, "Date": date(2026, 11, 20)}),
            (b'{"a":null}', {"CampaignID": None, "Date": "x"}),
        )
        assert content == (
            b'{"CampaignID":221,"Date":"2026-11-20","a":1.50}\n'
            b'{"CampaignID":221,"Date":"2026-11-20","b":"}\\n{\\"x"}\n'
            b'{"CampaignID":null,"Date":"x","a":null}\n'
        )

    @pytest.mark.parametrize(
        ("row", "expected"),
        [
            ('{"campaignID":7,"a":1.50}', '{"campaignID":7,"a":1.50}'),
            ('{"CampaignID":null}', '{"CampaignID":null}'),
            ('{"C\\u0061mpaignID":7}', '{"CampaignID":7}'),
            ('{ "CampaignID" : 7}', '{"CampaignID":7}'),
            ("{}", '{"CampaignID":221}'),
            ("{ }", '{"CampaignID":221}'),
            (' {"a":1}', '{"CampaignID":221,"a":1}'),
            ('{"a":"CampaignID"}', '{"CampaignID":221,"a":"CampaignID"}'),
            ('{"a":123456789012345678901234567890}', '{"CampaignID":221,"a":123456789012345678901234567890}'),
        ],
    )
    @pytest.mark.parametrize("before", [True, False])
    def test_a_value_of_the_row_wins_over_a_constant(self, row: str, expected: str, before: bool) -> None:
        rows = [row, '{"b":2}'] if before else ['{"b":2}', row]
        other = '{"CampaignID":221,"b":2}'
        layout = FileLayout(TWO_FIELDS.fields, constants={"CampaignID": "integer"})
        content = written("jsonl", layout, ("\n".join(rows).encode(), {"CampaignID": 221}))
        assert content.decode().splitlines() == ([expected, other] if before else [other, expected])

    def test_columns_are_chosen_and_renamed(self) -> None:
        layout = FileLayout(
            FIELDS,
            constants={"CampaignID": "integer"},
            columns=("actionid", "Extra", "CampaignID"),
            rename={"ActionID": "id"},
        )
        page = (
            b'{"extra":[1.50],"ActionId":123456789012345678901234567890,"actionid":9,"CustomerID":"C1"}\n{"Extra":null}'
        )
        assert written("jsonl", layout, (page, {"CampaignID": 1.5})) == (
            b'{"id":123456789012345678901234567890,"Extra":[1.50],"CampaignID":1.5}\n{"Extra":null,"CampaignID":1.5}\n'
        )

    def test_a_list_is_spread_and_nothing_else_is_lost(self) -> None:
        page = lines_of(
            {"New": 1, "CustomerID": "C1", "customerAttributes": ["A", {"b": 1}], "customerid": 3},
            {"CustomerAttributes": "A,TR", "Alias": "its own"},
            {"CustomerAttributes": None},
            {"CustomerAttributes": ["A"], "CustomerID": "C4"},
            {"OtherFields": "x"},
        )
        assert as_objects(written("jsonl", ATTRIBUTES, page)) == [
            {"CustomerID": "C1", "Alias": "A", "Country": {"b": 1}, "New": 1, "customerid": 3},
            {"Alias": "A", "Country": "TR", "OtherFields": {"Alias": "its own"}},
            {"Alias": None, "Country": None},
            {"CustomerID": "C4", "CustomerAttributes": ["A"]},
            {"OtherFields": {"OtherFields": "x"}},
        ]

    def test_other_fields_can_be_chosen(self) -> None:
        layout = FileLayout(ATTRIBUTES.fields, columns=("OtherFields", "CustomerID"), rename={"otherfields": "rest"})
        page = b'{"CustomerID":1,"x":2,"customerid":3,"CustomerAttributes":[]}\n{"CustomerID":4}'
        assert as_objects(written("jsonl", layout, page)) == [
            {"rest": {"x": 2, "customerid": 3}, "CustomerID": 1},
            {"CustomerID": 4},
        ]


class TestCsv:
    @pytest.mark.parametrize(
        ("value", "cell"),
        [
            ('"plain"', "plain"),
            ('"a,b"', '"a,b"'),
            ('"say \\"x\\""', '"say ""x"""'),
            ('"two\\nlines"', '"two\nlines"'),
            ('"a\\rb"', '"a\rb"'),
            ('"\\u0000 \\u00fc \\ud83c\\udf89 \\u2028"', "\x00 ü 🎉 \u2028"),
            ('" spaced "', " spaced "),
            ("null", ""),
            ('""', ""),
            ("true", "true"),
            ("false", "false"),
            ("0", "0"),
            ("1.50", "1.50"),
            ("-0.1234567890123456789", "-0.1234567890123456789"),
            ("9007199254740993", "9007199254740993"),
            ("123456789012345678901234567890", "123456789012345678901234567890"),
            ('[1.50,"a"]', '"[1.50,""a""]"'),
            ('{"a": {"b": null}}', '"{""a"":{""b"":null}}"'),
            ("[]", "[]"),
        ],
    )
    def test_cells(self, value: str, cell: str) -> None:
        row = f'{{"CustomerID":"C1","ActionID":{value}}}'.encode()
        for page in (row, b'{"CustomerID":"C1","ActionID":3}\n' + row):
            content = written("csv", TWO_FIELDS, page)
            assert content.decode().startswith("CustomerID,ActionID,OtherFields\nC1,")
            assert content.decode().endswith(f"\nC1,{cell},\n")
            plain = cell[1:-1].replace('""', '"') if cell.startswith('"') else cell
            assert as_table(content)[-1] == ["C1", plain, ""]

    def test_a_row_of_one_empty_cell_is_no_empty_line(self) -> None:
        layout = FileLayout({"CustomerID": "text"}, columns=("CustomerID",))
        content = written("csv", layout, b'{"CustomerID":""}\n{}\n{"CustomerID":0}')
        assert content == b'CustomerID\n""\n""\n0\n'

    def test_names_that_need_quotes(self) -> None:
        layout = FileLayout({"CustomerID": "text"}, rename={"CustomerID": 'the "id", renamed'})
        content = written("csv", layout, b'{"a,b":1,"c\\"d":2}')
        assert as_table(content) == [['the "id", renamed', "a,b", 'c"d', "OtherFields"], ["", "1", "2", ""]]

    def test_no_rows_are_a_header(self) -> None:
        assert written("csv", ATTRIBUTES, b"") == b"CustomerID,Alias,Country,OtherFields\n"

    def test_constants_come_first_and_differ_between_pages(self) -> None:
        layout = FileLayout(
            ATTRIBUTES.fields, constants={"CampaignID": "integer", "customerid": "text", "Date": "date"}
        )
        content = written(
            "csv",
            layout,
            (
                b'{"CustomerID":"C1"}\n{}\n{"campaignid":5,"date":null}',
                {"CampaignID": 1, "customerid": "x", "Date": None},
            ),
            (b'{"New":"late"}', {"CampaignID": 2, "customerid": "y", "Date": date(2026, 11, 20)}),
        )
        assert as_table(content) == [
            ["CampaignID", "Date", "CustomerID", "CustomerAttributes", "OtherFields"],
            ["1", "", "C1", "", ""],
            ["1", "", "x", "", ""],
            ["5", "", "x", "", ""],
            ["2", "2026-11-20", "y", "", '{"New":"late"}'],
        ]


class TestColumns:
    def test_what_the_first_page_has_gets_a_column(self, caplog: pytest.LogCaptureFixture) -> None:
        content = written(
            "csv",
            ATTRIBUTES,
            b"",
            b'{"CustomerID":"C1"}\n{"Zone":1}\n{"alias":"own","zone":3,"Area":[2],"OtherFields":1}\n{"country":5}',
            b'{"ZONE":4,"Late":null}\n{"Later":1}',
        )
        assert as_table(content) == [
            ["CustomerID", "Alias", "Country", "Zone", "Area", "OtherFields"],
            ["C1", "", "", "", "", ""],
            ["", "", "", "1", "", ""],
            ["", "", "", "3", "[2]", '{"OtherFields":1,"alias":"own"}'],
            ["", "", "", "", "", '{"country":5}'],
            ["", "", "", "4", "", '{"Late":null}'],
            ["", "", "", "", "", '{"Later":1}'],
        ]
        assert [record.getMessage() for record in caplog.records] == [
            "Row 3 has what fits no column: OtherFields, alias."
            " This, and what else fits none, is in the column OtherFields."
        ]

    def test_no_warning_without_other_fields(self, caplog: pytest.LogCaptureFixture) -> None:
        written("csv", ATTRIBUTES, b'{"CustomerID":"C1","New":1}')
        written("parquet", ATTRIBUTES, b'{"CustomerID":"C1","New":1}')
        assert not caplog.records

    def test_an_undocumented_field_does_not_take_the_name_of_a_column(self) -> None:
        layout = FileLayout({"CustomerID": "text"}, rename={"CustomerID": "id"})
        assert as_table(written("csv", layout, b'{"ID":1,"CustomerID":2}')) == [
            ["id", "OtherFields"],
            ["2", '{"ID":1}'],
        ]

    def test_the_exact_spelling_wins(self) -> None:
        page = b'{"customerid":1,"CustomerID":2}\n{"CUSTOMERID":3,"customerid":4}\n{"customerID":5}\n{"CustomerID":6}'
        layout = FileLayout({"CustomerID": "text"})
        assert as_table(written("csv", layout, page))[1:] == [
            ["2", '{"customerid":1}'],
            ["3", '{"customerid":4}'],
            ["5", ""],
            ["6", ""],
        ]

    def test_only_the_chosen_columns(self) -> None:
        layout = FileLayout(
            FIELDS,
            list_field="CustomerAttributes",
            list_names=("Alias", "Country"),
            constants={"CampaignID": "integer"},
            columns=("country", "Day", "campaignid", "new", "ActionID"),
            rename={"NEW": "Newest"},
        )
        page = b'{"CustomerID":"C1","ActionID":3,"New":4,"Unwanted":5,"actionid":6,"CustomerAttributes":["A","TR"]}'
        assert as_table(written("csv", layout, (page, {"CampaignID": 221}), (b'{"Late":1}', {"CampaignID": 222}))) == [
            ["Country", "Day", "CampaignID", "Newest", "ActionID"],
            ["TR", "", "221", "4", "3"],
            ["", "", "222", "", ""],
        ]

    @pytest.mark.parametrize("file_format", ["jsonl", "csv", "parquet"])
    def test_a_chosen_column_that_nothing_has(self, file_format: FileFormat) -> None:
        layout = FileLayout(FIELDS, columns=("Missing", "CustomerID", "New", "Gone"))
        pages = (b"", b'{"CustomerID":"C1"}\n{"NEW":1}', b'{"gone":2}')
        with pytest.raises(OptimoveInputError) as raised:
            written(file_format, layout, *pages)
        assert raised.value.problems == ("Missing is no documented field, and no row has it",)
        assert written(file_format, layout, *pages, b'{"Missing":1}')

    @pytest.mark.parametrize("file_format", ["jsonl", "csv", "parquet"])
    def test_a_chosen_column_that_seems_misspelt(self, file_format: FileFormat) -> None:
        layout = FileLayout(FIELDS, columns=("ActonID",))
        with pytest.raises(OptimoveInputError, match=r"ActonID .* no row has it; did you mean ActionID\?"):
            # Told after the first page, before the many others.
            row_writer(io.BytesIO(), file_format, layout).write(b'{"ActionID":1}')
        assert written(file_format, layout, b'{"ActonID":1}')

    @pytest.mark.parametrize("file_format", ["jsonl", "csv", "parquet"])
    def test_a_chosen_column_need_not_be_in_every_row(self, file_format: FileFormat) -> None:
        layout = FileLayout(FIELDS, columns=("CustomerID", "New"))
        # Neither on other pages, nor where there are no rows at all.
        content = written(file_format, layout, b'{"CustomerID":"C1"}\n{"new":"x"}', b'{"CustomerID":"C3"}')
        assert content.count(b"C3") >= 1
        empty = written(file_format, layout, b"")
        if file_format == "csv":
            assert as_table(content) == [["CustomerID", "New"], ["C1", ""], ["", "x"], ["C3", ""]]
            assert empty == b"CustomerID,New\n"
        elif file_format == "parquet":
            assert [row["New"] for row in as_rows(content)] == [None, "x", None]
            assert as_rows(empty) == []
        else:
            assert as_objects(content) == [{"CustomerID": "C1"}, {"New": "x"}, {"CustomerID": "C3"}]
            assert empty == b""

    def test_chosen_other_fields_hold_what_is_undocumented_or_unfit(self) -> None:
        layout = FileLayout(
            FIELDS,
            list_field="CustomerAttributes",
            list_names=("Alias", "Country"),
            columns=("OtherFields", "ActionID", "Alias"),
        )
        page = lines_of({"CustomerID": "C1", "ActionID": "x", "New": 1, "CustomerAttributes": ["A"], "actionid": 2})
        others = {"CustomerAttributes": ["A"], "New": 1, "actionid": 2}
        assert as_table(written("csv", layout, page))[1:] == [[json.dumps(others, separators=(",", ":")), "x", ""]]
        (row,) = as_rows(written("parquet", layout, page))
        assert json.loads(row.pop("OtherFields")) == {**others, "ActionID": "x"}
        assert row == {"ActionID": None, "Alias": None}

    @pytest.mark.parametrize("file_format", ["jsonl", "csv", "parquet"])
    def test_a_list_that_cannot_be_placed_is_an_error(self, file_format: FileFormat) -> None:
        good = lines_of(*[{"CustomerAttributes": ["A", "TR"]}] * 1_000)
        bad = lines_of({"CustomerAttributes": "A,TR"}, {"CustomerAttributes": ["A", "TR", "x"]})
        layout = FileLayout(ATTRIBUTES.fields, "CustomerAttributes", ("Alias", "Country"), columns=("Country",))
        with pytest.raises(OptimoveInputError) as raised:
            written(file_format, layout, good, bad)
        assert str(raised.value) == (
            "row 1,002: CustomerAttributes: not one value for each of Alias, Country;"
            " add OtherFields to columns to keep such values"
        )
        not_wanted = FileLayout(ATTRIBUTES.fields, "CustomerAttributes", ("Alias", "Country"), columns=("CustomerID",))
        assert written(file_format, not_wanted, good, bad)

    @pytest.mark.parametrize(
        ("value", "cells"),
        [
            (["A", "TR"], ["A", "TR", ""]),
            ([None, 1.5], ["", "1.5", ""]),
            ([["x"], ""], ['["x"]', "", ""]),
            ("A;TR", ["A", "TR", ""]),
            (";", ["", "", ""]),
            ("A", ["", "", '{"CustomerAttributes":"A"}']),
            ("A;B;C", ["", "", '{"CustomerAttributes":"A;B;C"}']),
            (0, ["", "", '{"CustomerAttributes":0}']),
            ({}, ["", "", '{"CustomerAttributes":{}}']),
            ([], ["", "", ""]),
            ("", ["", "", ""]),
            (None, ["", "", ""]),
        ],
    )
    def test_lists(self, value: Any, cells: list[str]) -> None:
        layout = FileLayout(ATTRIBUTES.fields, "CustomerAttributes", ("Alias", "Country"), list_delimiter=";")
        for before in ([], [{"CustomerAttributes": ["A", "TR"]}], [{"CustomerID": "C1"}]):
            page = lines_of(*before, {"customerattributes": value})
            assert as_table(written("csv", layout, page))[-1][1:] == cells

    @pytest.mark.parametrize(
        ("changes", "problems"),
        [
            ({"columns": ()}, ["columns names no column"]),
            ({"columns": ("CustomerID", "customerid")}, ["columns names a column twice: CustomerID and customerid"]),
            ({"columns": ("New", "NEW")}, ["columns names a column twice: New and NEW"]),
            (
                {"columns": ("customerattributes",)},
                ["columns names customerattributes, whose values have columns of their own: Alias, Country"],
            ),
            ({"rename": {"Nothing": "x"}}, ["rename names Nothing, which is none of the columns"]),
            (
                {"columns": ("Alias",), "rename": {"CustomerID": "x"}},
                ["rename names CustomerID, which is none of the columns"],
            ),
            (
                {"rename": {"Alias": "x", "alias": "y"}},
                ["rename names a column twice: Alias and alias"],
            ),
            (
                {"rename": {"CustomerID": "COUNTRY"}},
                ["CustomerID and Country have the same name in the file: Country"],
            ),
            (
                {"rename": {"CustomerID": "x", "Alias": "X"}},
                ["CustomerID and Alias have the same name in the file: X"],
            ),
            ({"list_names": ("Alias", "CustomerID")}, ["two columns have the same name: CustomerID and CustomerID"]),
            ({"list_names": ("Alias", "ALIAS")}, ["two columns have the same name: Alias and ALIAS"]),
            ({"list_names": ("campaignid",)}, ["two columns have the same name: CampaignID and campaignid"]),
            ({"list_names": ("otherfields",)}, ["two columns have the same name: otherfields and OtherFields"]),
        ],
    )
    def test_names_that_cannot_be(self, changes: dict[str, Any], problems: list[str]) -> None:
        layout = FileLayout(
            **{
                "fields": ATTRIBUTES.fields,
                "list_field": "CustomerAttributes",
                "list_names": ("Alias", "Country"),
                "constants": {"CampaignID": "integer"},
                **changes,
            }
        )
        assert refused(layout) == tuple(problems)
        with pytest.raises(OptimoveInputError):
            row_writer(io.BytesIO(), "csv", layout)

    def test_an_empty_text_is_no_value_of_a_list(self) -> None:
        layout = FileLayout(ATTRIBUTES.fields, "CustomerAttributes", ("Alias",), columns=("Alias",))
        page = lines_of({"CustomerAttributes": ""}, {"CustomerAttributes": "A"}, {"CustomerAttributes": [""]})
        assert [row["Alias"] for row in as_rows(written("parquet", layout, page))] == [None, "A", ""]

    def test_a_list_without_names_is_a_column(self) -> None:
        layout = FileLayout(ATTRIBUTES.fields, "CustomerAttributes", columns=("CustomerAttributes",))
        page = lines_of({"CustomerAttributes": ["A", 1]})
        assert as_table(written("csv", layout, page)) == [["CustomerAttributes"], ['["A",1]']]

    def test_names_may_be_exchanged(self) -> None:
        layout = FileLayout({"A": "text", "B": "text"}, rename={"a": "B", "b": "A"}, columns=("A", "B"))
        assert written("csv", layout, b'{"A":1,"B":2}') == b"B,A\n1,2\n"

    def test_more_problems_than_one(self) -> None:
        layout = FileLayout({"A": "text"}, columns=("A", "a"), rename={"b": "c"})
        assert len(refused(layout)) == 2


FITS: list[tuple[Kind, str, Any]] = [
    ("text", '"a"', "a"),
    ("text", '""', ""),
    ("text", "1.50", "1.50"),
    ("text", "123456789012345678901", "123456789012345678901"),
    ("text", "true", "true"),
    ("text", '["a"]', '["a"]'),
    ("integer", "12", 12),
    ("integer", '""', None),
    ("integer", '"12"', 12),
    ("integer", '"-12"', -12),
    ("integer", "12.0", 12),
    ("integer", "9223372036854775807", 2**63 - 1),
    ("integer", "-9223372036854775808", -(2**63)),
    ("number", "1.50", 1.5),
    ("number", "3", 3.0),
    ("number", '""', None),
    ("number", '"-1.5e3"', -1500.0),
    ("boolean", "false", False),
    ("boolean", '"True"', True),
    ("boolean", "1", True),
    ("boolean", "0", False),
    ("boolean", '"1"', True),
    ("boolean", '"0"', False),
    ("boolean", '""', None),
    ("date", '"2026-11-20"', date(2026, 11, 20)),
    ("date", '""', None),
    ("date", '"2026-11-20 00:00:00"', date(2026, 11, 20)),
    ("time", '"2026-11-20 10:00:01"', datetime(2026, 11, 20, 10, 0, 1, tzinfo=UTC)),
    ("time", '"2026-11-20T10:00:01.5"', datetime(2026, 11, 20, 10, 0, 1, 500_000, tzinfo=UTC)),
    ("time", '"2026-11-20T10:00:01.1234567"', datetime(2026, 11, 20, 10, 0, 1, 123_456, tzinfo=UTC)),
    ("time", '"2026-11-20"', datetime(2026, 11, 20, tzinfo=UTC)),
    ("time", '""', None),
    ("time", '"2026-11-20T10:00:00Z"', datetime(2026, 11, 20, 10, tzinfo=UTC)),
    ("time", '"2026-11-20T10:00:00+03:00"', datetime(2026, 11, 20, 7, tzinfo=UTC)),
    ("time", '"0001-01-01 00:00:00"', datetime(1, 1, 1, tzinfo=UTC)),
    ("json", '{"a": [1.50, null]}', '{"a":[1.50,null]}'),
    ("json", '"a"', '"a"'),
    ("json", '""', '""'),
]
UNFIT: list[tuple[Kind, str]] = [
    ("integer", '"x"'),
    ("integer", '"012"'),
    ("integer", '" "'),
    ("integer", "1.5"),
    ("integer", "true"),
    ("integer", "[1]"),
    ("integer", "9223372036854775808"),
    ("integer", '"9223372036854775808"'),
    ("integer", "1e1000000"),
    ("number", '"nan"'),
    ("number", '"1_000"'),
    ("number", "1e400"),
    ("number", "9007199254740993"),
    ("number", "false"),
    ("number", "{}"),
    ("boolean", "2"),
    ("boolean", "-1"),
    ("boolean", '" "'),
    ("boolean", "[]"),
    ("boolean", '"yes"'),
    ("date", '"20.11.2026"'),
    ("date", '"2026-11-20 10:00:00"'),
    ("date", '"2026-11-20T00:00:00Z"'),
    ("date", "20261120"),
    ("time", '"soon"'),
    ("time", '" "'),
    ("time", "1795168800"),
    ("time", '"0001-01-01T00:00:00+03:00"'),
]
USUAL: dict[Kind, str] = {
    "text": '"x"',
    "integer": "1",
    "number": "1.5",
    "boolean": "true",
    "date": '"2026-01-02"',
    "time": '"2026-01-02 03:04:05"',
    "json": "{}",
}


class TestParquet:
    @pytest.mark.parametrize(("kind", "value", "expected"), FITS)
    def test_values_that_fit(self, kind: Kind, value: str, expected: Any) -> None:
        for usual in ("null", USUAL[kind], "[]"):
            page = f'{{"A":{usual}}}\n{{"A":{value}}}'.encode()
            row = as_rows(written("parquet", FileLayout({"A": kind}), page))[1]
            assert row == {"A": expected, "OtherFields": None}
        alone = FileLayout({"A": kind}, columns=("A",))
        assert as_rows(written("parquet", alone, f'{{"A":{value}}}\n{{}}'.encode())) == [{"A": expected}, {"A": None}]

    @pytest.mark.parametrize(("kind", "value"), UNFIT)
    def test_values_that_do_not_fit(self, kind: Kind, value: str) -> None:
        page = f'{{"A":{USUAL[kind]}}}\n{{"a":{value}}}'.encode()
        first, second = as_rows(written("parquet", FileLayout({"A": kind}), page))
        assert first["A"] is not None
        assert first["OtherFields"] is None
        assert second["A"] is None
        assert json.loads(second["OtherFields"]) == {"A": json.loads(value)}
        with pytest.raises(OptimoveInputError) as raised:
            written("parquet", FileLayout({"A": kind}, columns=("A",)), page)
        assert str(raised.value) == (
            f"row 2: A: the value does not fit the type {kind}; add OtherFields to columns to keep such values"
        )

    @pytest.mark.parametrize("pages", [[], [b'{"Active":true}']])
    def test_the_schema_is_the_layout(self, pages: list[bytes]) -> None:
        layout = FileLayout(
            FIELDS,
            list_field="CustomerAttributes",
            list_names=("Alias",),
            constants={"Campaigns": "integer"},
            rename={"Alias": "Nickname"},
        )
        content = written("parquet", layout, *((page, {"Campaigns": 1}) for page in pages))
        schema = parquet.read_schema(io.BytesIO(content))
        assert {name: str(kind) for name, kind in zip(schema.names, schema.types, strict=True)} == {
            "Campaigns": "int64",
            "CustomerID": "string",
            "ActionID": "int64",
            "FutureValue": "double",
            "Active": "bool",
            "Day": "date32[day]",
            "ScheduleTime": "timestamp[us, tz=UTC]",
            "Details": "string",
            "Nickname": "string",
            "OtherFields": "string",
        }
        assert len(as_rows(content)) == len(pages)

    @pytest.mark.parametrize(
        ("page_sizes", "groups"),
        [([3, 4, 6, 1], [7, 6, 1]), ([5, 5], [5, 5]), ([45], [20, 20, 5]), ([4, 18], [20, 2]), ([4, 4, 13], [8, 13])],
    )
    def test_row_groups(self, page_sizes: list[int], groups: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(row_writers, "LEAST_ROWS_OF_A_GROUP", 5)
        monkeypatch.setattr(row_writers, "MOST_ROWS_OF_A_GROUP", 20)
        monkeypatch.setattr(shaping, "STRETCH_BYTES", 1)
        numbers = iter(range(100))
        pages = [lines_of(*({"ActionID": next(numbers)} for _ in range(size))) for size in page_sizes]
        content = written("parquet", TWO_FIELDS, *pages)
        metadata = parquet.read_metadata(io.BytesIO(content))
        assert [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)] == groups
        assert [row["ActionID"] for row in as_rows(content)] == list(range(sum(page_sizes)))

    def test_an_abandoned_writer_does_not_write_an_end(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(row_writers, "LEAST_ROWS_OF_A_GROUP", 1)
        file = io.BytesIO()
        writer = row_writer(file, "parquet", TWO_FIELDS)
        writer.write(b'{"ActionID":1}')
        content = file.getvalue()
        assert content.startswith(b"PAR1")
        del writer
        gc.collect()
        assert file.getvalue() == content
        assert not file.closed

    def test_pyarrow_is_needed_at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "pyarrow", None)
        monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
        with pytest.raises(OptimoveInputError, match=r"install pyarrow, or airflow-provider-optimove\[parquet\]$"):
            row_writer(io.BytesIO(), "parquet", TWO_FIELDS)
        assert written("csv", TWO_FIELDS, b"{}")


class NotUsed:
    """In place of the slow decoder."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(name)


class TestDecoder:
    def test_an_odd_row_does_not_make_the_rest_slow(self) -> None:
        decoder = FieldDecoder()
        decoder.columns(b'{"a":1}\n{"a":2,"A":3}\n{"B":4}')
        decoder._mappings = NotUsed()  # type: ignore[assignment]
        columns = decoder.columns(b'{"a":5}\n{"B":6,"A":7}')
        assert {name: [str(value) for value in values] for name, values in columns.items()} == {
            "a": ["5", "UNSET"],
            "A": ["UNSET", "7"],
            "B": ["UNSET", "6"],
        }

    def test_names_that_are_data_are_not_learned(self) -> None:
        decoder = FieldDecoder()
        for number in range(1_000):
            assert decoder.columns(b'{"field%d":1}' % number)[f"field{number}"] == [1]
        assert len(decoder.columns(b'{"field0":1}')) == shaping.MOST_STRUCT_FIELDS

    def test_rows_without_fields_come_first(self) -> None:
        assert len(as_rows(written("parquet", TWO_FIELDS, b"{}\n{}", b'{"ActionID":1}'))) == 3


TEXTS = ["", "a", "Grüße 🎉", 'say "x"', "a,b", "two\nlines", "a\rb", "\x00", "\u2028", "null", " ", "'", "\\", "1.50"]


def random_value(random: random.Random, depth: int = 0) -> Any:
    match random.randrange(9 if depth < 2 else 7):
        case 0:
            return None
        case 1:
            return random.choice([True, False])
        case 2:
            return random.choice([0, -1, 2**53 + 1, 2**63, 2**64, -(2**70)])
        case 3:
            return random.choice([Decimal("1.50"), Decimal("0.12345678901234567890"), Decimal("-2.0")])
        case 4 | 5 | 6:
            return "".join(random.choices(TEXTS, k=random.randrange(3)))
        case 7:
            return [random_value(random, depth + 1) for _ in range(random.randrange(4))]
        case _:
            return {random.choice(TEXTS): random_value(random, depth + 1) for _ in range(random.randrange(3))}


RIGHT: dict[str, list[Any]] = {
    "ActionID": [3, "12", None, 2**40],
    "FutureValue": [Decimal("1.50"), 2, None, "0.25"],
    "Active": [True, False, None, "TRUE", 1, 0, "1", "0", ""],
    "Day": ["2026-11-20", None, "1999-01-31"],
    "ScheduleTime": ["2026-11-20 10:00:00", None, "2026-11-20T10:00:00.25", "2026-11-20"],
    "CustomerAttributes": [["Anna", "TR"], ["a,b", None], "Anna,TR", None, ["x"], "", [1, [2]]],
}


def random_row(random: random.Random, names: Sequence[str], odd: float) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for name in names:
        if random.random() < odd / 4:
            continue
        spelled = name
        if random.random() < odd / 4:
            spelled = random.choice([name.lower(), name.upper(), name.swapcase()])
        row[spelled] = random_value(random) if random.random() < odd / 2 else random.choice(RIGHT.get(name, TEXTS))
        if random.random() < odd / 4:
            row[name.lower()] = random_value(random)
    if random.random() < odd / 4:
        row[random.choice(["New", "new", "Fresh", 'o"dd', "Alias", "otherfields"])] = random_value(random)
    items = list(row.items())
    if random.random() < odd:
        random.shuffle(items)
    return dict(items)


def encoded(value: Any) -> str:
    """JSON with Decimals, the simple way."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{encoded(name)}:{encoded(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(encoded, value)) + "]"
    return str(value) if isinstance(value, Decimal) else json.dumps(value, ensure_ascii=False)


ABSENT = object()


def fitted(kind: Kind, value: Any) -> Any:
    """What the value is in Parquet, for the values of these tests; ABSENT if it does not fit."""
    if value is None or value is ABSENT or (value == "" and kind not in ("text", "json")):
        return None
    try:
        match kind, value:
            case "text", _:
                return value if isinstance(value, str) else encoded(value)
            case "json", _:
                return encoded(value)
            case "boolean", bool():
                return value
            case "boolean", str():
                return {"true": True, "false": False, "1": True, "0": False}[value.lower()]
            case "boolean", int():
                return {1: True, 0: False}[value]
            case "integer", int() | Decimal() | str() if not isinstance(value, bool):
                whole = int(value)
                fits = str(whole) == value if isinstance(value, str) else whole == value
                return whole if fits and abs(whole) < 2**63 else ABSENT
            case "number", int() | Decimal() | str() if not isinstance(value, bool):
                if isinstance(value, str) and value != value.strip():
                    return ABSENT
                number = float(value)
                return number if not isinstance(value, int) or int(number) == value else ABSENT
            case "date", str():
                moment = datetime.fromisoformat(value)
                return moment.date() if moment.time() == time() else ABSENT
            case "time", str():
                return datetime.fromisoformat(value).replace(tzinfo=UTC)
    except (ValueError, KeyError):
        pass
    return ABSENT


def own_values(row: Mapping[str, Any], name: str) -> list[str]:
    """The keys of a row that may stand for a name, the best first."""
    return sorted((key for key in row if key.lower() == name.lower()), key=lambda key: (key != name, key))


def reference(
    layout: FileLayout,
    pages: Sequence[Sequence[Mapping[str, Any]]],
    constants: Sequence[Mapping[str, Any]],
    typed: bool,
) -> tuple[list[str], list[dict[str, Any]]]:
    """Header and rows, row by row and value by value; ``typed`` as in Parquet."""
    kinds: dict[str, Kind] = {**layout.constants, **layout.fields}
    names = [*layout.constants, *(name for name in layout.fields if name != layout.list_field)]
    spread = [*layout.constants]
    for name in layout.fields:
        spread += layout.list_names if name == layout.list_field else [name]
    reserved = {name.lower() for name in (*names, *spread, layout.list_field, "OtherFields")}
    extra: dict[str, str] = {}
    for row in next(filter(None, pages), ()):
        for key in row:
            if key.lower() not in reserved:
                extra.setdefault(key.lower(), key)
    rows = []
    for page, common in zip(pages, constants, strict=True):
        for row in page:
            placed: dict[str, Any] = {}
            rest = dict(row)
            for name in [*names, *extra.values()]:
                keys = own_values(row, name)
                value = rest.pop(keys[0]) if keys else common.get(name, ABSENT)
                placed[name] = fitted(kinds.get(name, "text"), value) if typed else value
                if placed[name] is ABSENT and typed:
                    rest[name] = value
                    placed[name] = None
            parts: Any = [None] * len(layout.list_names)
            if keys := own_values(row, layout.list_field):
                value = rest.pop(keys[0])
                split = value.split(layout.list_delimiter) if isinstance(value, str) else value
                if isinstance(split, list) and len(split) == len(parts):
                    parts = split
                elif value not in (None, "", []):
                    rest[layout.list_field] = value
            for name, value in zip(layout.list_names, parts, strict=True):
                placed[name] = fitted("text", value) if typed else value
            placed["OtherFields"] = rest or None
            rows.append(placed)
    return [*spread, *extra.values(), "OtherFields"], rows


def means(cell: str, value: Any) -> bool:
    if value is None or value is ABSENT:
        return cell == ""
    if isinstance(value, list | dict):
        return bool(json.loads(cell, parse_float=Decimal) == value)
    return cell == (value if isinstance(value, str) else encoded(value))


EVERYTHING = FileLayout(
    FIELDS,
    list_field="CustomerAttributes",
    list_names=("Alias", "Country"),
    constants={"CampaignID": "integer", "Date": "date"},
)


def random_pages(seed: int) -> tuple[list[list[dict[str, Any]]], list[dict[str, Any]]]:
    chance = random.Random(seed)
    odd = chance.choice([0, 0.1, 0.5, 1])
    names = [*FIELDS, *chance.choice([[], ["Surplus"], ["CampaignID", "Surplus"]])]
    size = chance.randint(1, 40)
    pages = [
        [random_row(chance, names, odd) for _ in range(chance.choice([0, 1, size]))]
        for _ in range(chance.randint(1, 4))
    ]
    constants = [{"CampaignID": chance.choice([221, None, 5]), "Date": date(2026, 11, 20)} for _ in pages]
    return pages, constants


def encoded_pages(pages: Iterable[Iterable[Mapping[str, Any]]], constants: Iterable[Mapping[str, Any]]) -> list[Page]:
    texts = ("\n".join(encoded(dict(row)) for row in page).encode() for page in pages)
    return list(zip(texts, constants, strict=True))


class TestRandomRows:
    @pytest.mark.parametrize("seed", range(60))
    @pytest.mark.parametrize("file_format", ["jsonl", "csv", "parquet"])
    def test_every_way_writes_the_same(
        self, file_format: FileFormat, seed: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pages = encoded_pages(*random_pages(seed))
        fast = written(file_format, EVERYTHING, *pages)
        monkeypatch.setattr(shaping, "STRETCH_BYTES", random.Random(seed).choice([1, 100, 1000]))
        cut = written(file_format, EVERYTHING, *pages)
        monkeypatch.setattr(shaping, "MOST_STRUCT_FIELDS", 0)
        slow = written(file_format, EVERYTHING, *pages)
        if file_format == "parquet":
            assert as_rows(fast) == as_rows(cut) == as_rows(slow)
        else:
            assert fast == cut == slow

    @pytest.mark.parametrize("seed", range(60))
    def test_csv(self, seed: int) -> None:
        pages, constants = random_pages(seed)
        common = [{**page, "Date": page["Date"].isoformat()} for page in constants]
        header, expected = reference(EVERYTHING, pages, common, typed=False)
        text = io.StringIO(written("csv", EVERYTHING, *encoded_pages(pages, constants)).decode(), newline="")
        reader = csv.DictReader(text, strict=True)
        rows = list(reader)
        assert reader.fieldnames == header
        assert len(rows) == len(expected)
        for row, values in zip(rows, expected, strict=True):
            wrong = {name: (row[name], values[name]) for name in header if not means(row[name], values[name])}
            assert not wrong

    @pytest.mark.parametrize("seed", range(60))
    def test_parquet(self, seed: int) -> None:
        pages, constants = random_pages(seed)
        common = [{**page, "Date": page["Date"].isoformat()} for page in constants]
        header, expected = reference(EVERYTHING, pages, common, typed=True)
        content = written("parquet", EVERYTHING, *encoded_pages(pages, constants))
        rows = as_rows(content)
        assert parquet.read_schema(io.BytesIO(content)).names == header
        for row in rows:
            row["OtherFields"] = row["OtherFields"] and json.loads(row["OtherFields"], parse_float=Decimal)
        for row in expected:
            row["Details"] = row["Details"] and json.loads(row["Details"])
        for row in rows:
            row["Details"] = row["Details"] and json.loads(row["Details"])
        assert rows == [{name: row[name] for name in header} for row in expected]

    @pytest.mark.parametrize("seed", range(60))
    def test_json_lines_lose_nothing(self, seed: int) -> None:
        pages, constants = random_pages(seed)
        layout = FileLayout(FIELDS, constants=EVERYTHING.constants)
        rows = as_objects(written("jsonl", layout, *encoded_pages(pages, constants)))
        expected = [
            {
                "Date": "2026-11-20",
                **({} if own_values(row, "CampaignID") else {"CampaignID": common["CampaignID"]}),
                **row,
            }
            for page, common in zip(pages, constants, strict=True)
            for row in page
        ]
        assert rows == expected
