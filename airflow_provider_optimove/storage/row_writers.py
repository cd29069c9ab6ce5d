"""Rows, as pages of JSON Lines, into a file: JSON Lines, CSV or Parquet."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
from msgspec import UNSET, UnsetType

from airflow_provider_optimove.exceptions import OptimoveInputError
from airflow_provider_optimove.storage.formats import NO_PYARROW, FileFormat
from airflow_provider_optimove.storage.shaping import OTHER_FIELDS, Column, FileLayout, Kind, Shaper, Stretch

if TYPE_CHECKING:
    import pyarrow
    import pyarrow.parquet

# Rows of a row group of Parquet; the last may have fewer.
LEAST_ROWS_OF_A_GROUP = 50_000
MOST_ROWS_OF_A_GROUP = 200_000

NO_CONSTANTS: Mapping[str, Any] = MappingProxyType({})
NO_VALUE = frozenset({type(None), UnsetType})
NUMBERS = frozenset({int, Decimal})
# Letters need not be escaped in JSON, but may be.
ESCAPED_LETTER = re.compile(rb"\\u00[4-7]")
QUOTE, DOUBLED_QUOTE = '"', '""'
QUOTED_MARKS = ',"\r\n'
TO_BE_QUOTED = re.compile(f"[{QUOTED_MARKS}]")
INTEGER = re.compile("0|-?[1-9][0-9]{0,18}")
NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
LARGEST_INTEGER = 2**63 - 1
TRUTH = {"true": True, "false": False, "1": True, "0": False}

_json = msgspec.json.Encoder(decimal_format="number")


class Target(Protocol):
    """What rows are written to: a file opened for binary writing, or a GzipFile."""

    def write(self, data: bytes, /) -> Any: ...


class RowWriter(Protocol):
    """Writes rows into a file. After an error it is of no more use."""

    def write(self, lines: bytes, constants: Mapping[str, Any] = NO_CONSTANTS) -> None:
        """Write a page.

        :param lines: JSON Lines, an object a line, without a newline at the end; may be empty.
        :param constants: a value for each of the layout's constants.
        :raises OptimoveInputError: a value has no place in the columns that were chosen.
        """
        ...

    def finish(self) -> None:
        """Write what the format has at its end. The file stays open.

        :raises OptimoveInputError: a column was chosen that no row had.
        """
        ...


def row_writer(file: Target, file_format: FileFormat, layout: FileLayout) -> RowWriter:
    """A writer of rows.

    :param file: is written from where it stands, and not closed.
    :param file_format: what it becomes.
    :param layout: what it holds.
    :raises OptimoveInputError: the layout is not valid, or pyarrow is not installed.
    """
    layout.check()
    writers: dict[FileFormat, Callable[[Target, FileLayout], RowWriter]] = {
        "jsonl": JsonLinesWriter,
        "csv": CsvWriter,
        "parquet": ParquetWriter,
    }
    return writers[file_format](file, layout)


class JsonLinesWriter:
    """JSON Lines: the rows as they came, unless the layout shapes them."""

    def __init__(self, file: Target, layout: FileLayout) -> None:
        self._file = file
        self._rows = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal)
        self._shaper = Shaper(layout, fixed=False) if layout.shapes else None

    def write(self, lines: bytes, constants: Mapping[str, Any] = NO_CONSTANTS) -> None:
        if not lines:
            return
        if self._shaper:
            for stretch in self._shaper.stretches(lines, constants):
                self._file.write(_json.encode_lines(_objects(self._shaper, stretch)))
        elif constants and not _surely_lack(constants, lines):
            rows = [_without(row, constants) | row for row in self._rows.decode_lines(lines)]
            self._file.write(_json.encode_lines(rows))
        else:
            if constants:
                start = _json.encode(dict(constants))[:-1] + b","
                lines = start + lines[1:].replace(b"\n{", b"\n" + start)
            self._file.write(lines)
            self._file.write(b"\n")

    def finish(self) -> None:
        if self._shaper:
            self._shaper.end()


def _surely_lack(names: Iterable[str], lines: bytes) -> bool:
    """Whether all rows have fields, but none of these in any letter case; False also where that is not sure."""
    if not lines.startswith(b'{"') or lines.count(b'\n{"') != lines.count(b"\n") or ESCAPED_LETTER.search(lines):
        return False
    lower = lines.lower()
    return not any(b'"%b"' % name.lower().encode() in lower for name in names)


def _without(row: Mapping[str, Any], constants: Mapping[str, Any]) -> dict[str, Any]:
    """The constants that a row has no value of its own for."""
    own = {name.lower() for name in row}
    return {name: value for name, value in constants.items() if name.lower() not in own}


def _objects(shaper: Shaper, stretch: Stretch) -> list[dict[str, Any]]:
    names = [column.name for column in shaper.columns]
    columns = [
        shaper.others_of(stretch) if column.field == OTHER_FIELDS else values
        for column, values in zip(shaper.columns, stretch.columns, strict=True)
    ]
    rows = [
        {name: value for name, value in zip(names, row, strict=True) if value is not UNSET}
        for row in zip(*columns, strict=True)
    ]
    if not shaper.has_others:
        for position, fields in stretch.others.items():
            row = rows[position]
            for name, value in sorted(fields.items()):
                taken = name in row or name == OTHER_FIELDS
                (row.setdefault(OTHER_FIELDS, {}) if taken else row)[name] = value
    return rows


class CsvWriter:
    """CSV in UTF-8 with a header, a newline after each row, and quotes only where they are needed."""

    def __init__(self, file: Target, layout: FileLayout) -> None:
        self._file = file
        self._shaper = Shaper(layout, fixed=True)
        self._begun = False

    def write(self, lines: bytes, constants: Mapping[str, Any] = NO_CONSTANTS) -> None:
        if not lines:
            return
        for stretch in self._shaper.stretches(lines, constants):
            self._begin()
            columns = [
                _cells(self._shaper.others_of(stretch) if column.field == OTHER_FIELDS else values)
                for column, values in zip(self._shaper.columns, stretch.columns, strict=True)
            ]
            if len(columns) == 1:
                # An empty line would be no row.
                columns = [['""' if cell == "" else cell for cell in columns[0]]]
            # Measured: faster than making texts of the numbers, and joining those.
            row = ",".join(["%s"] * len(columns)) + "\n"
            self._file.write("".join(map(row.__mod__, zip(*columns, strict=True))).encode())

    def finish(self) -> None:
        self._shaper.end()
        self._begin()

    def _begin(self) -> None:
        if not self._begun:
            self._begun = True
            header = ",".join(_cells([column.name for column in self._shaper.columns]))
            self._file.write(f"{header}\n".encode())


def _cells(values: Sequence[Any]) -> Sequence[Any]:
    """What stands between the commas; numbers as they are."""
    if set(map(type, values)) <= NUMBERS:
        return values
    texts = _texts(values, "")
    together = "".join(texts)
    # Measured: much faster than one search for any of them.
    if not any(mark in together for mark in QUOTED_MARKS):
        return texts
    return [f'"{text.replace(QUOTE, DOUBLED_QUOTE)}"' if TO_BE_QUOTED.search(text) else text for text in texts]


def _texts(values: Sequence[Any], no_value: str | None) -> Sequence[Any]:
    """Texts as they are, all else as in JSON."""
    kinds = set(map(type, values))
    if kinds <= {str}:
        return values
    if kinds <= NO_VALUE:
        return [no_value] * len(values)
    if kinds <= {str} | NO_VALUE:
        return [no_value if value is None or value is UNSET else value for value in values]
    return [value if isinstance(value, str) else _json_text(value, no_value) for value in values]


def _json_text(value: Any, no_value: str | None) -> str | None:
    return no_value if value is None or value is UNSET else _json.encode(value).decode()


class ParquetWriter:
    """Parquet. What does not fit the type of its column goes to ``OtherFields``, and its cell is null."""

    def __init__(self, file: Target, layout: FileLayout) -> None:
        try:
            import pyarrow.parquet  # noqa: F401
        except ImportError:
            raise OptimoveInputError(NO_PYARROW) from None
        self._file = file
        self._shaper = Shaper(layout, fixed=True)
        self._parts = _Parts()
        self._groups: pyarrow.parquet.ParquetWriter | None = None
        self._batches: list[pyarrow.RecordBatch] = []
        self._rows = 0

    def write(self, lines: bytes, constants: Mapping[str, Any] = NO_CONSTANTS) -> None:
        if not lines:
            return
        for stretch in self._shaper.stretches(lines, constants):
            self._batches.append(_batch(self._shaper, stretch))
            self._rows += stretch.count
        if self._rows >= LEAST_ROWS_OF_A_GROUP:
            self._write_group()

    def finish(self) -> None:
        self._shaper.end()
        self._write_group()
        assert self._groups
        self._groups.close()
        self._parts.move_to(self._file)

    def _write_group(self) -> None:
        import pyarrow
        from pyarrow import parquet

        schema = pyarrow.schema([(column.name, _arrow_type(column.kind)) for column in self._shaper.columns])
        if self._groups is None:
            self._groups = parquet.ParquetWriter(self._parts, schema)
        if self._batches:
            self._groups.write_table(pyarrow.Table.from_batches(self._batches, schema), MOST_ROWS_OF_A_GROUP)
        self._batches, self._rows = [], 0
        self._parts.move_to(self._file)


class _Parts(io.RawIOBase):
    """What pyarrow writes to, so that it can be passed on.

    Abandoned after an error, pyarrow still writes an end, which must not get into the file.
    """

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._size

    def write(self, data: Any, /) -> int:
        self._parts.append(bytes(data))
        self._size += len(self._parts[-1])
        return len(self._parts[-1])

    def move_to(self, file: Target) -> None:
        for part in self._parts:
            file.write(part)
        self._parts.clear()


def _arrow_type(kind: Kind) -> pyarrow.DataType:
    import pyarrow

    types: dict[Kind, pyarrow.DataType] = {
        "text": pyarrow.string(),
        "integer": pyarrow.int64(),
        "number": pyarrow.float64(),
        "boolean": pyarrow.bool_(),
        "date": pyarrow.date32(),
        "time": pyarrow.timestamp("us", tz="UTC"),
        "json": pyarrow.string(),
    }
    return types[kind]


def _batch(shaper: Shaper, stretch: Stretch) -> pyarrow.RecordBatch:
    import pyarrow

    arrays = {
        column.name: _array(shaper, stretch, column, values)
        for column, values in zip(shaper.columns, stretch.columns, strict=True)
        if column.field != OTHER_FIELDS
    }
    for column in shaper.columns:
        if column.field == OTHER_FIELDS:
            # The last, for what does not fit the others is in it.
            arrays[column.name] = pyarrow.array(_texts(shaper.others_of(stretch), None), _arrow_type(column.kind))
    names = [column.name for column in shaper.columns]
    return pyarrow.RecordBatch.from_arrays([arrays[name] for name in names], names=names)


def _array(shaper: Shaper, stretch: Stretch, column: Column, values: Sequence[Any]) -> pyarrow.Array:
    import pyarrow

    arrow_type = _arrow_type(column.kind)
    if column.kind == "text":
        return pyarrow.array(_texts(values, None), arrow_type)
    if column.kind == "json":
        return pyarrow.array([_json_text(value, None) for value in values], arrow_type)
    usual, fitted = TYPES[column.kind]
    kinds = set(map(type, values))
    if UnsetType in kinds:
        values = [None if value is UNSET else value for value in values]
    if kinds <= {usual} | NO_VALUE:
        try:
            if usual is not str:
                return pyarrow.array(values, arrow_type)
            times = pyarrow.array(values, pyarrow.string())
            if column.kind == "time":
                # A text that names no zone becomes no time of a zone at once.
                times = times.cast(pyarrow.timestamp("us"))
            return times.cast(arrow_type)
        except (pyarrow.ArrowInvalid, OverflowError):
            pass
    cells: list[Any] = [None] * stretch.count
    for position, value in enumerate(values):
        # Some write an empty text for what is not there.
        if value is not None and value != "":
            try:
                cells[position] = fitted(value)
            except (ValueError, TypeError, OverflowError):
                shaper.misfit(stretch, position, column.field, value, f"the value does not fit the type {column.kind}")
    return pyarrow.array(cells, arrow_type)


def _integer(value: Any) -> int:
    number = int(value) if isinstance(value, str) and INTEGER.fullmatch(value) else value
    # In this order, for a few digits with an exponent may be a number of gigabytes.
    if isinstance(value, Decimal) and -LARGEST_INTEGER <= value <= LARGEST_INTEGER:
        number = int(value)
        if number != value:
            raise ValueError
    if type(number) is not int or not -LARGEST_INTEGER - 1 <= number <= LARGEST_INTEGER:
        raise ValueError
    return number


def _number(value: Any) -> float:
    if isinstance(value, bool) or (isinstance(value, str) and not NUMBER.fullmatch(value)):
        raise ValueError
    number = float(value)
    if math.isinf(number) or (isinstance(value, int) and int(number) != value):
        raise ValueError
    return number


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if str(value).lower() not in TRUTH:
        raise ValueError
    return TRUTH[str(value).lower()]


def _date(value: Any) -> date:
    moment = datetime.fromisoformat(value)
    if moment.timetz() != time():
        raise ValueError
    return moment.date()


def _time(value: Any) -> datetime:
    moment = datetime.fromisoformat(value)
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


# The type that values have mostly, and what makes one of any that fits.
TYPES: dict[Kind, tuple[type, Callable[[Any], Any]]] = {
    "integer": (int, _integer),
    # Those with a fraction are no floats yet.
    "number": (float, _number),
    "boolean": (bool, _boolean),
    "date": (str, _date),
    "time": (str, _time),
}
