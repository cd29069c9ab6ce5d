"""Rows of a write, checked a column at a time at C speed. No I/O.

What does not fit the fast way is checked once more row by row: that knows every form a value may have, and says what
is wrong with which row.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import repeat
from typing import Annotated, Any

import msgspec

from airflow_provider_optimove.clients.optimove.functions import Function, Parameter, api_name, row_fields
from airflow_provider_optimove.clients.optimove.functions.types import Boolean, Integer, Rows, Text
from airflow_provider_optimove.clients.optimove.values import LARGEST_INTEGER, Unfit, row_check, shown, value_check

# From here on the combinations seen so far are forgotten, and checked again.
MOST_COMBINATIONS = 10_000


@dataclass(frozen=True)
class Unreadable:
    """A row that could not be read; stands in its place.

    :param reason: why, without the row's number.
    """

    reason: str


@dataclass(frozen=True)
class Objects:
    """A stretch of rows: mappings of fields, or bare values; :class:`Unreadable` where there is none."""

    rows: Sequence[Any]

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True)
class Table:
    """A stretch of rows as columns of equal length.

    :param names: the columns' names as they were written.
    :param columns: the values, in the order of the names.
    :param text: whether all values are text, as in a CSV file; the empty text then stands for no value.
    """

    names: tuple[str, ...]
    columns: Sequence[Sequence[Any]]
    text: bool = False

    def __len__(self) -> int:
        return len(self.columns[0]) if self.columns else 0

    def rows(self) -> Iterator[dict[str, Any]]:
        """The same rows as mappings, without what has no value."""
        for values in zip(*self.columns, strict=True):
            row = zip(self.names, values, strict=True)
            yield {name: value for name, value in row if value != "" or not self.text}


Stretch = Objects | Table


@dataclass(frozen=True)
class RowShape:
    """What the rows of a write hold.

    :param fields: the fields by Optimove's name.
    :param bare: whether a row is sent as the bare value of its only field; what else it holds is then not looked at.
    :param elsewhere: names that no row may have, because the argument of that name stands for all rows.
    """

    fields: Mapping[str, Parameter]
    bare: bool = False
    elsewhere: Collection[str] = ()

    @property
    def sole(self) -> str | None:
        """The only field, for which a bare value may stand; None where there are several."""
        return next(iter(self.fields)) if len(self.fields) == 1 else None


class BadRows(Exception):
    """Rows that cannot be sent.

    :param problems: what is wrong, each with the position of the row in its stretch.
    """

    def __init__(self, problems: Sequence[tuple[int, str]]) -> None:
        super().__init__(problems)
        self.problems = problems


class BadColumns(Exception):
    """A table that lacks a column, or has one too many.

    :param problems: one sentence each.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__(problems)
        self.problems = problems


def row_shape(function: Function) -> RowShape:
    """What the rows of a function hold that takes rows.

    Bare values have the name of the parameter in the singular: ``CustomerIDs`` are rows with a ``CustomerID``.
    """
    shape = function.row_shape
    if isinstance(shape, type):
        return RowShape(row_fields(shape))
    name = api_name((function.rows or "").removesuffix("s"))
    others = {p.name for p in function.own_parameters if p.python_name != function.rows}
    return RowShape({name: Parameter(name, name, shape, required=True)}, bare=True, elsewhere=others)


Shared = tuple[tuple[str, Any], ...]
"""Arguments that rows of one call have in common: names and checked values."""


class RowChecker:
    """Checks rows of one shape, all of which belong to calls with the same arguments.

    :param shape: what they hold.
    """

    def __init__(self, shape: RowShape) -> None:
        self.taken: dict[Shared, list[Any]] = {(): []}
        """The rows that were checked, in the form that is encoded; the caller takes them out."""
        self._shape = shape
        self._columns = _Columns(shape)
        self._checks = {name: _column_check(field) for name, field in shape.fields.items()}
        fields = [(name, Any) if field.required else (name, Any, None) for name, field in shape.fields.items()]
        # One order of fields, whatever that of the input; no value is not sent.
        self._row: type[msgspec.Struct] = msgspec.defstruct("Row", sorted(fields, key=len), omit_defaults=True)

    def take(self, stretch: Stretch) -> None:
        """Check a stretch of rows and add it to what is taken.

        :raises BadRows: some rows are not valid.
        :raises BadColumns: the table has not the columns that are needed.
        """
        self.taken[()] += self._checked(stretch)

    def shared_of(self, stretch: Stretch) -> list[Shared]:
        """What each row has in common with others of its call: nothing."""
        return [()] * len(stretch)

    def _checked(self, stretch: Stretch) -> list[Any]:
        try:
            columns = self._columns.of(stretch)
            checked = {name: self._checks[name](values, _is_text(stretch)) for name, values in columns.items()}
        except _NOT_THE_FAST_WAY:
            rows = _one_by_one(self._shape, stretch)
            return rows if self._shape.bare else [self._row(**row) for row in rows]
        if self._shape.bare:
            return next(iter(checked.values()))
        return list(map(self._row, *(checked.get(name, repeat(None)) for name in self._row.__struct_fields__)))


class Grouping:
    """Checks rows of which each holds one value and the arguments of the call that it belongs to.

    :param value: the field whose values are sent as rows.
    :param shared: the fields that the rows of one call have in common, as parameters of the function.
    :param elsewhere: names that no row may have, because the argument of that name stands for all rows.
    """

    def __init__(self, value: Parameter, shared: Mapping[str, Parameter], elsewhere: Collection[str] = ()) -> None:
        self.taken: dict[Shared, list[Any]] = {}
        """The values that were checked, by what they have in common; the caller takes them out."""
        self._value = value
        self._shared = shared
        self._shape = RowShape({value.name: value, **shared}, elsewhere=elsewhere)
        self._columns = _Columns(self._shape)
        self._check_values = _column_check(value)
        self._check_shared = row_check(shared)
        self._appends = _Appends((), False, self._taken_with)

    def take(self, stretch: Stretch) -> None:
        """Check a stretch of rows and add its values to what is taken.

        :raises BadRows: some rows are not valid.
        :raises BadColumns: the table has not the columns that are needed.
        """
        if len(self.taken) > MOST_COMBINATIONS:
            self.taken = {}
            self._appends = _Appends((), False, self._taken_with)
        try:
            names = self._columns.names(stretch)
            values = self._check_values(self._columns.column(stretch, names[self._value.name]), _is_text(stretch))
            self._sort_in(stretch, {name: names[name] for name in self._shared if name in names}, values)
        except _NOT_THE_FAST_WAY:
            for row in _one_by_one(self._shape, stretch):
                self._taken_with(row).append(row[self._value.name])

    def shared_of(self, stretch: Stretch) -> list[Shared]:
        """What each row has in common with others of its call."""
        return [self._in_order(row) for row in _one_by_one(self._shape, stretch)]

    def _sort_in(self, stretch: Stretch, names: Mapping[str, str], values: Sequence[Any]) -> None:
        if (self._appends.names, self._appends.text) != (tuple(names), _is_text(stretch)):
            self._appends = _Appends(tuple(names), _is_text(stretch), self._taken_with)
        written = list(names.values())
        try:
            combinations = self._columns.tuples(stretch, written)
            for append, value in zip(map(self._appends.__getitem__, combinations), values, strict=True):
                append(value)
        except _NOT_THE_FAST_WAY:
            with suppress(*_NOT_THE_FAST_WAY):
                for combination in self._columns.tuples(stretch, written):
                    self._appends.known(combination).pop()
            raise

    def _taken_with(self, row: Mapping[str, Any]) -> list[Any]:
        return self.taken.setdefault(self._in_order(self._check_shared(row)), [])

    def _in_order(self, row: Mapping[str, Any]) -> Shared:
        return tuple((name, row[name]) for name in self._shared if name in row)


class _Appends(dict[tuple[Any, ...], Callable[[Any], None]]):
    """What adds a value to those of its combination. Few combinations stand for many rows, so each is checked once.

    :param names: the fields that a combination consists of.
    :param text: whether the empty text stands for no value.
    :param taken_with: checks a combination and returns the list of its values.
    """

    def __init__(
        self, names: tuple[str, ...], text: bool, taken_with: Callable[[Mapping[str, Any]], list[Any]]
    ) -> None:
        super().__init__()
        self.names = names
        self.text = text
        self._taken_with = taken_with
        self._lists: dict[tuple[Any, ...], list[Any]] = {}

    def __missing__(self, combination: tuple[Any, ...]) -> Callable[[Any], None]:
        row = zip(self.names, combination, strict=True)
        taken = self._taken_with({name: value for name, value in row if value != "" or not self.text})
        self._lists[combination] = taken
        self[combination] = taken.append
        return taken.append

    def known(self, combination: tuple[Any, ...]) -> list[Any]:
        """The values of a combination that was met before; KeyError for another."""
        return self._lists[combination]


class _NotUniform(Exception):
    """The rows of a stretch have not all the same fields, or not those that are declared."""


_NOT_THE_FAST_WAY = (_NotUniform, Unfit, msgspec.ValidationError, KeyError, TypeError, UnicodeEncodeError)


class _Columns:
    """Finds the declared fields in a stretch, in whatever letter case they are written."""

    def __init__(self, shape: RowShape) -> None:
        self._shape = shape
        self._fields = {name.lower(): name for name in shape.fields}
        self._needed = {name for name, field in shape.fields.items() if field.required}
        self._known: dict[tuple[str, ...], Mapping[str, str]] = {}

    def names(self, stretch: Stretch) -> Mapping[str, str]:
        """The fields that all rows have, each with its name as it is written."""
        if isinstance(stretch, Table):
            written = stretch.names
            if problems := list(self._problems(written)):
                raise BadColumns(problems)
        else:
            first = stretch.rows[0]
            if type(first) is not dict or set(map(len, stretch.rows)) != {len(first)}:
                raise _NotUniform
            written = tuple(first)
        if written not in self._known:
            if any(True for _ in self._problems(written)):
                raise _NotUniform
            found = {self._fields[name.lower()]: name for name in written if name.lower() in self._fields}
            self._known = {written: found}
        return self._known[written]

    def column(self, stretch: Stretch, name: str) -> Sequence[Any]:
        """The values of one field."""
        if isinstance(stretch, Table):
            return stretch.columns[stretch.names.index(name)]
        return list(map(operator.itemgetter(name), stretch.rows))

    def tuples(self, stretch: Stretch, names: Sequence[str]) -> Iterable[tuple[Any, ...]]:
        """The values of several fields, a tuple a row."""
        if isinstance(stretch, Objects) and len(names) > 1:
            return map(operator.itemgetter(*names), stretch.rows)
        return zip(*(self.column(stretch, name) for name in names), strict=True)

    def of(self, stretch: Stretch) -> Mapping[str, Sequence[Any]]:
        """The values of all fields that the rows have."""
        sole = self._shape.sole
        if sole and isinstance(stretch, Objects) and not isinstance(stretch.rows[0], Mapping):
            return {sole: stretch.rows}
        return {field: self.column(stretch, name) for field, name in self.names(stretch).items()}

    def _problems(self, written: Sequence[str]) -> Iterator[str]:
        has = ", ".join(map(shown, written))
        names = [str(name).lower() for name in written]
        for name in self._needed:
            if name.lower() not in names:
                yield f"{name}: no such column; the columns are {has}"
        for name, as_written in zip(names, written, strict=True):
            if name in {other.lower() for other in self._shape.elsewhere}:
                yield _given_for_all(as_written)
            elif name not in self._fields and not self._shape.bare:
                yield f"{shown(as_written)}: no such field (fields are {', '.join(self._shape.fields)})"
            elif names.count(name) > 1:
                yield f"{shown(as_written)}: given twice"


def _given_for_all(name: str) -> str:
    return f"{shown(name)}: this is an argument of its own and not a field of the rows"


def _is_text(stretch: Stretch) -> bool:
    return isinstance(stretch, Table) and stretch.text


def _one_by_one(shape: RowShape, stretch: Stretch) -> list[Any]:
    """Every row checked by itself, in the slow way that knows what is wrong.

    :raises BadRows: some are not valid.
    """
    check = _one_row_check(shape)
    checked: list[Any] = []
    problems: list[tuple[int, str]] = []
    for position, row in enumerate(stretch.rows() if isinstance(stretch, Table) else stretch.rows):
        try:
            checked.append(check(row))
        except Unfit as unfit:
            problems.append((position, "; ".join(unfit.args)))
    if problems:
        raise BadRows(problems)
    return checked


def _one_row_check(shape: RowShape) -> Callable[[Any], Any]:
    """What checks one row in whatever form; it returns the bare value, or the fields that have one."""
    check = row_check(shape.fields)
    sole = shape.sole
    check_sole = value_check(shape.fields[sole].format) if sole else None
    elsewhere = {name.lower() for name in shape.elsewhere}
    nested = {name.lower() for name, field in shape.fields.items() if isinstance(field.format, Rows)}

    def checked(row: Any) -> Any:
        if isinstance(row, Unreadable):
            raise Unfit(row.reason)
        if not isinstance(row, Mapping):
            if sole is None or check_sole is None:
                return check(row)
            value = check_sole(row)
            return value if shape.bare else {sole: value}
        if problems := [_given_for_all(name) for name in row if str(name).lower() in elsewhere]:
            raise Unfit(*problems)
        if nested:
            row = {name: _from_cell(value) if str(name).lower() in nested else value for name, value in row.items()}
        if sole is None or not shape.bare:
            return check(row)
        return check({name: value for name, value in row.items() if str(name).lower() == sole.lower()})[sole]

    return checked


def _column_check(field: Parameter) -> Callable[[Sequence[Any], bool], list[Any]]:
    """What checks the values of a field together; it gives up with one of ``_NOT_THE_FAST_WAY``."""
    check = _values_check(field)
    if field.required:
        return check

    def check_present(values: Sequence[Any], text: bool) -> list[Any]:
        present = [value for value in values if value is not None and (value != "" or not text)]
        if len(present) == len(values):
            return check(present, text)
        checked = iter(check(present, text))
        return [next(checked) if value is not None and (value != "" or not text) else None for value in values]

    return check_present


def _values_check(field: Parameter) -> Callable[[Sequence[Any], bool], list[Any]]:
    expected = field.format
    check_one = value_check(expected)
    if isinstance(expected, Text) and not expected.choices:
        limits = msgspec.Meta(min_length=expected.minimum_length, max_length=expected.maximum_length)
        texts = list[Annotated[str, limits]]

        def check_texts(values: Sequence[Any], text: bool) -> list[Any]:
            try:
                checked = msgspec.convert(values, texts)
            except msgspec.ValidationError:
                checked = msgspec.convert(list(map(str, msgspec.convert(values, list[int]))), texts)
            whole = "".join(checked)
            # Half of a surrogate pair is no character; found here, because later nobody knows whose it was.
            whole.encode()
            has_blanks = whole.split(None, 1) != [whole]
            if has_blanks and expected.minimum_length and any(map(str.isspace, checked)):
                raise Unfit
            return checked

        return check_texts
    if isinstance(expected, Integer) and not expected.names and not expected.refused:
        largest = LARGEST_INTEGER if expected.maximum is None else expected.maximum
        numbers = list[Annotated[int, msgspec.Meta(ge=expected.minimum, le=largest)]]
        return lambda values, text: msgspec.convert(values, numbers, strict=not text)
    if isinstance(expected, Boolean):
        return lambda values, text: msgspec.convert(values, list[bool], strict=not text)
    if isinstance(expected, Rows):
        return lambda values, text: [check_one(_from_cell(value)) for value in values]

    def check_distinct(values: Sequence[Any], text: bool) -> list[Any]:
        # Equal values of different types are not the same: 1 is a number, True is none.
        if len(set(map(type, values))) > 1:
            raise _NotUniform
        checked = {value: check_one(value) for value in set(values)}
        return list(map(checked.__getitem__, values))

    return check_distinct


def _from_cell(value: Any) -> Any:
    """What stands as JSON in a cell of a CSV file."""
    try:
        return msgspec.json.decode(value) if isinstance(value, str) else value
    except msgspec.DecodeError:
        return value


__all__ = [
    "BadColumns",
    "BadRows",
    "Grouping",
    "Objects",
    "RowChecker",
    "RowShape",
    "Shared",
    "Stretch",
    "Table",
    "Unreadable",
    "row_shape",
]
