"""Rows of a write, checked a column at a time at C speed. No I/O.

What does not fit the fast way is checked once more row by row: that knows every form a value may have, and says what
is wrong with which row.
"""

from __future__ import annotations

import datetime
import operator
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress, repeat
from typing import Annotated, Any

import msgspec

from airflow_provider_optimove.clients.optimove.functions import Function, Parameter, api_name, row_fields
from airflow_provider_optimove.clients.optimove.functions.types import Boolean, Integer, Rows, Text
from airflow_provider_optimove.clients.optimove.values import LARGEST_INTEGER, Unfit, row_check, shown, value_check

# Types of which equal values mean the same. Times of two zones may be equal and lie on two days; that a True or a 1.0
# hides behind an equal number does no harm.
ALIKE_IF_EQUAL = frozenset({int, str, type(None), datetime.date})
# From here on the combinations seen so far are forgotten, and checked again.
MOST_COMBINATIONS = 10_000
# How a CSV file says it, mostly; other ways are known to the slow check.
_TRUTH = {"true": True, "false": False, "True": True, "False": False, "1": True, "0": False}


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
            yield {name: value for name, value in row if not self.text or value != ""}


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
    others = {parameter.name for parameter in function.parameters_beside_rows}
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
        self._known: dict[tuple[Any, ...], Shared] = {}

    def take(self, stretch: Stretch) -> None:
        """Check a stretch of rows and add its values to what is taken.

        :raises BadRows: some rows are not valid.
        :raises BadColumns: the table has not the columns that are needed.
        """
        if max(len(self.taken), len(self._known)) > MOST_COMBINATIONS:
            self.taken.clear()
            self._known.clear()
        try:
            found = self._sorted(stretch)
        except _NOT_THE_FAST_WAY:
            found = ((shared, [value]) for shared, value in self.each(stretch))
        for shared, values in found:
            self.taken.setdefault(shared, []).extend(values)

    def each(self, stretch: Stretch) -> Iterable[tuple[Shared, Any]]:
        """Each row in its order: what it has in common with others of its call, and its value.

        :raises BadRows: some rows are not valid.
        :raises BadColumns: the table has not the columns that are needed.
        """
        try:
            names, text = self._columns.names(stretch), _is_text(stretch)
            fields = tuple(name for name in self._shared if name in names)
            combinations = list(self._columns.tuples(stretch, [names[name] for name in fields]))
            shared = {combination: self._shared_by(combination, fields, text) for combination in set(combinations)}
            values = self._check_values(self._columns.column(stretch, names[self._value.name]), text)
            return zip(map(shared.__getitem__, combinations), values, strict=True)
        except _NOT_THE_FAST_WAY:
            return [(self._in_order(row), row[self._value.name]) for row in _one_by_one(self._shape, stretch)]

    def _sorted(self, stretch: Stretch) -> Iterable[tuple[Shared, list[Any]]]:
        """Few combinations stand for many rows: a combination is checked once, its values together."""
        names, text = self._columns.names(stretch), _is_text(stretch)
        fields = tuple(name for name in self._shared if name in names)
        combinations = self._columns.tuples(stretch, [names[name] for name in fields])
        values = self._columns.values(stretch, names[self._value.name])
        found: defaultdict[tuple[Any, ...], list[Any]] = defaultdict(list)
        for together, value in zip(map(found.__getitem__, combinations), values, strict=True):
            together.append(value)
        shared = [self._shared_by(combination, fields, text) for combination in found]
        if len(set(shared)) < len(shared):
            # One combination, written in two ways: its rows must stay in their order.
            raise _NotUniform
        return zip(shared, [self._check_values(together, text) for together in found.values()], strict=True)

    def _shared_by(self, combination: tuple[Any, ...], fields: tuple[str, ...], text: bool) -> Shared:
        known = (text, *fields, *combination)
        if not ALIKE_IF_EQUAL.issuperset(map(type, combination)):
            raise _NotUniform
        shared = self._known.get(known)
        if shared is None:
            row = zip(fields, combination, strict=True)
            shared = self._in_order(self._check_shared({name: v for name, v in row if not text or v != ""}))
            self._known[known] = shared
        return shared

    def _in_order(self, checked: Mapping[str, Any]) -> Shared:
        return tuple((name, checked[name]) for name in self._shared if name in checked)


class _NotUniform(Exception):
    """The rows of a stretch have not all the same fields, or not those that are declared."""


# ValueError: halves of surrogate pairs, numbers with too many digits; msgspec's errors are such from 0.19 on.
_NOT_THE_FAST_WAY = (_NotUniform, Unfit, msgspec.ValidationError, KeyError, TypeError, ValueError)


class _Columns:
    """Finds the declared fields in a stretch, in whatever letter case they are written."""

    def __init__(self, shape: RowShape) -> None:
        self._shape = shape
        self._fields = {name.lower(): name for name in shape.fields}
        self._elsewhere = {name.lower() for name in shape.elsewhere}
        self._known: dict[tuple[str, ...], Mapping[str, str]] = {}

    def names(self, stretch: Stretch) -> Mapping[str, str]:
        """The fields that all rows have, each with its name as it is written."""
        written = stretch.names if isinstance(stretch, Table) else self._keys(stretch.rows)
        if written not in self._known:
            found, problems = self._found(written)
            if problems:
                raise BadColumns(problems) if isinstance(stretch, Table) else _NotUniform
            self._known = {written: found}
        return self._known[written]

    def column(self, stretch: Stretch, name: str) -> Sequence[Any]:
        """The values of one field."""
        if isinstance(stretch, Table):
            return stretch.columns[stretch.names.index(name)]
        return list(map(operator.itemgetter(name), stretch.rows))

    def tuples(self, stretch: Stretch, names: Sequence[str]) -> Iterable[tuple[Any, ...]]:
        """The values of several fields, a tuple a row, when it is asked for."""
        if not names:
            return repeat((), len(stretch))
        if isinstance(stretch, Objects) and len(names) > 1:
            return map(operator.itemgetter(*names), stretch.rows)
        return zip(*(self.values(stretch, name) for name in names), strict=True)

    def values(self, stretch: Stretch, name: str) -> Iterable[Any]:
        """The values of one field, each when it is asked for."""
        return (
            self.column(stretch, name) if isinstance(stretch, Table) else map(operator.itemgetter(name), stretch.rows)
        )

    def of(self, stretch: Stretch) -> Mapping[str, Sequence[Any]]:
        """The values of all fields that the rows have."""
        sole = self._shape.sole
        if sole and isinstance(stretch, Objects) and not isinstance(stretch.rows[0], Mapping):
            return {sole: stretch.rows}
        return {field: self.column(stretch, name) for field, name in self.names(stretch).items()}

    def _keys(self, rows: Sequence[Any]) -> tuple[str, ...]:
        if set(map(type, rows)) != {dict}:
            raise _NotUniform
        if self._shape.bare:
            # What is not sent may differ from row to row.
            return tuple(set().union(*rows))
        # All keys of the first are looked up in the others: of equal length, they have the same.
        if len(set(map(len, rows))) > 1:
            raise _NotUniform
        return tuple(rows[0])

    def _found(self, written: Sequence[str]) -> tuple[Mapping[str, str], list[str]]:
        """The fields with their names as they are written, and what is wrong with those."""
        found: dict[str, str] = {}
        problems: list[str] = []
        for name in written:
            lower = str(name).lower()
            field = self._fields.get(lower)
            if lower in self._elsewhere:
                problems.append(_given_for_all(name))
            elif field in found:
                problems.append(f"{field}: given twice")
            elif field is not None:
                found[field] = name
            elif not self._shape.bare:
                problems.append(f"{shown(name)}: no such field (fields are {', '.join(self._shape.fields)})")
        missing = [name for name, field in self._shape.fields.items() if field.required and name not in found]
        has = ", ".join(map(shown, written))
        return found, [f"{name}: no such column; the columns are {has}" for name in missing] + problems


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
        given = [value is not None and (not text or value != "") for value in values]
        if all(given):
            return check(values, text)
        checked = iter(check(list(compress(values, given)), text) if any(given) else ())
        return [next(checked) if present else None for present in given]

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
                if not set(map(type, values)) <= {str, int}:
                    raise
                checked = msgspec.convert(list(map(str, values)), texts)
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

        def check_numbers(values: Sequence[Any], text: bool) -> list[Any]:
            # Only digits: 1.0 and 1e3 would pass for whole numbers.
            if text and not "".join(values).isdigit():
                raise Unfit
            return msgspec.convert(values, numbers, strict=not text)

        return check_numbers
    if isinstance(expected, Boolean):
        return lambda values, text: (
            list(map(_TRUTH.__getitem__, values)) if text else msgspec.convert(values, list[bool])
        )
    if isinstance(expected, Rows):
        return lambda values, text: [check_one(_from_cell(value)) for value in values]
    return lambda values, text: list(map(check_one, values))


def _from_cell(value: Any) -> Any:
    """What stands as JSON in a cell of a CSV file."""
    try:
        return msgspec.json.decode(value) if isinstance(value, str) else value
    except (msgspec.DecodeError, ValueError, RecursionError):
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
