"""What columns a file of rows has, and what of a row belongs into which of them."""

from __future__ import annotations

import difflib
import logging
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import chain
from operator import attrgetter
from typing import Any, Literal

import msgspec
from msgspec import UNSET

from airflow_provider_optimove.exceptions import OptimoveInputError

log = logging.getLogger(__name__)

Kind = Literal["text", "integer", "number", "boolean", "date", "time", "json"]

OTHER_FIELDS = "OtherFields"

# Measured: larger stretches are slower. And an odd row slows down no more than its stretch.
STRETCH_BYTES = 128 * 1024
# A struct has room for each of its fields in each row; names that are data would make it large.
MOST_STRUCT_FIELDS = 200
# Such names of fields msgspec does not allow.
NOT_IN_A_STRUCT = re.compile(r'["\\\x00-\x1f]')


@dataclass(frozen=True)
class Column:
    """A column of the file.

    :param name: its name in the file.
    :param field: the field of the rows, or the constant, that it holds.
    :param kind: what its values are.
    :param position: which value of the list field it holds; None where it holds a field of its own.
    """

    name: str
    field: str
    kind: Kind
    position: int | None = None


@dataclass(frozen=True)
class FileLayout:
    """What a file of rows holds. Names are taken in any letter case.

    The columns are the constants, the documented fields with the values of the list in place of the list, in CSV and
    Parquet what else the first page's rows have, and ``OtherFields``: an object of all that has no column.

    :param fields: the documented fields of the rows, in their order.
    :param list_field: which of them holds a list whose values get columns of their own; empty for none.
    :param list_names: the names of its values.
    :param list_delimiter: what separates the values where the list comes as one string.
    :param constants: what all rows of a page have in common, beside what they hold themselves.
    :param columns: only these, in this order; also undocumented fields, and ``OtherFields``. None: all.
    :param rename: the names in the file of columns that have another name there.
    """

    fields: Mapping[str, Kind]
    list_field: str = ""
    list_names: tuple[str, ...] = ()
    list_delimiter: str = ","
    constants: Mapping[str, Kind] = field(default_factory=dict)
    columns: tuple[str, ...] | None = None
    rename: Mapping[str, str] = field(default_factory=dict)

    @property
    def shapes(self) -> bool:
        """Whether the rows come into the file in another form than they have, but for the constants."""
        return self.columns is not None or bool(self.rename) or bool(self.list_names)

    def known_columns(self) -> list[Column]:
        """The columns that are known before the first row; if none were chosen, the last is ``OtherFields``."""
        known = {column.field.lower(): column for column in self._documented()}
        chosen: Iterable[Column] = known.values()
        if self.columns is not None:
            chosen = [known.get(name.lower(), Column(name, name, "text")) for name in self.columns]
        renamed = {name.lower(): new for name, new in self.rename.items()}
        return [
            Column(renamed.get(column.field.lower(), column.name), column.field, column.kind, column.position)
            for column in chosen
        ]

    def check(self) -> None:
        """Check the names against each other.

        :raises OptimoveInputError: some of them cannot be; the function is not named.
        """
        problems = []
        first: dict[str, str] = {}
        for column in self._documented():
            if (lower := column.field.lower()) in first:
                problems.append(f"two columns have the same name: {first[lower]} and {column.field}")
            first.setdefault(lower, column.field)
        if self.columns is not None and not self.columns:
            problems.append("columns names no column")
        first = {}
        for name in self.columns or ():
            if name.lower() in first:
                problems.append(f"columns names a column twice: {first[name.lower()]} and {name}")
            elif self.list_names and name.lower() == self.list_field.lower():
                problems.append(
                    f"columns names {name}, whose values have columns of their own: {', '.join(self.list_names)}"
                )
            first.setdefault(name.lower(), name)
        columns = self.known_columns()
        fields = {column.field.lower() for column in columns}
        first = {}
        for name in self.rename:
            if name.lower() not in fields:
                problems.append(f"rename names {name}, which is none of the columns")
            elif name.lower() in first:
                problems.append(f"rename names a column twice: {first[name.lower()]} and {name}")
            first.setdefault(name.lower(), name)
        taken: dict[str, Column] = {}
        for column in columns:
            before = taken.setdefault(column.name.lower(), column)
            if before.field.lower() != column.field.lower():
                problems.append(f"{before.field} and {column.field} have the same name in the file: {column.name}")
        if problems:
            raise OptimoveInputError("the columns of the file are not valid", problems=problems)

    def _documented(self) -> Iterator[Column]:
        fields = {name.lower() for name in self.fields}
        for name, kind in self.constants.items():
            if name.lower() not in fields:
                yield Column(name, name, kind)
        for name, kind in self.fields.items():
            if name == self.list_field and self.list_names:
                for position, value in enumerate(self.list_names):
                    yield Column(value, value, "text", position)
            else:
                yield Column(name, name, kind)
        yield Column(OTHER_FIELDS, OTHER_FIELDS, "json")


class FieldDecoder:
    """Decodes JSON Lines into the values of each field.

    Structs are decoded twice as fast as mappings, but their fields must be known. They are learned from the stretches
    that have others.
    """

    def __init__(self) -> None:
        # Decimals keep all digits.
        self._mappings = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal)
        self._structs: msgspec.json.Decoder[Any] | None = None
        self._getters: dict[str, attrgetter[Any]] = {}

    def row(self, line: bytes) -> dict[str, Any]:
        """One row."""
        return self._mappings.decode(line)

    def columns(self, lines: bytes) -> dict[str, list[Any]]:
        """The values of all rows by field; UNSET where a row does not have it."""
        if self._structs is None:
            self._learn(self.row(lines.partition(b"\n")[0]))
        if self._structs is not None:
            try:
                structs = self._structs.decode_lines(lines)
            except msgspec.ValidationError:
                pass
            else:
                return {name: list(map(getter, structs)) for name, getter in self._getters.items()}
        rows = self._mappings.decode_lines(lines)
        names = dict.fromkeys(chain.from_iterable(rows))
        self._learn(names)
        return {name: [row.get(name, UNSET) for row in rows] for name in names}

    def _learn(self, names: Iterable[str]) -> None:
        new = [name for name in names if name not in self._getters and not NOT_IN_A_STRUCT.search(name)]
        if not new or len(self._getters) + len(new) > MOST_STRUCT_FIELDS:
            return
        for name in new:
            self._getters[name] = attrgetter(f"field{len(self._getters)}")
        attributes = {f"field{number}": name for number, name in enumerate(self._getters)}
        row = msgspec.defstruct(
            "Row",
            [(attribute, Any, UNSET) for attribute in attributes],
            rename=attributes,
            forbid_unknown_fields=True,
            gc=False,
        )
        self._structs = msgspec.json.Decoder(row, float_hook=Decimal)


@dataclass(frozen=True)
class Stretch:
    """Some rows that follow each other, a column at a time.

    :param first: the number of its first row; the file's first is row 1.
    :param count: how many rows it has.
    :param columns: the values of each column, UNSET where a row has none; nothing in place of ``OtherFields``.
    :param others: what has no column, by the row's position in the stretch.
    """

    first: int
    count: int
    columns: list[Sequence[Any]]
    others: defaultdict[int, dict[str, Any]]


class Shaper:
    """Brings rows into the columns of a file.

    :param layout: what the file holds.
    :param fixed: whether all rows have the same columns: those of the first page, and ``OtherFields`` for what else
        there is. If not, ``OtherFields`` is a column only where it was chosen.
    """

    def __init__(self, layout: FileLayout, *, fixed: bool) -> None:
        self.columns = layout.known_columns()
        if layout.columns is None and not fixed:
            self.columns.pop()
        self.has_others = any(column.field == OTHER_FIELDS for column in self.columns)
        self._layout = layout
        self._keeps_all = layout.columns is None
        self._spreads_list = any(column.position is not None for column in self.columns)
        self._documented = {name.lower() for name in (*layout.fields, *layout.constants)}
        self._known = self._documented.union(name.lower() for name in (*layout.list_names, OTHER_FIELDS))
        self._decoder = FieldDecoder()
        self._rows = 0
        self._warned = False
        self._missing: dict[str, str] = {}

    def stretches(self, lines: bytes, constants: Mapping[str, Any]) -> Iterator[Stretch]:
        """The rows of a page.

        :param lines: JSON Lines, at least one.
        :param constants: what the rows have in common.
        :raises OptimoveInputError: a value has no place in the columns that were chosen, or one of them seems to be
            misspelt.
        """
        if not self._rows:
            self._begin(lines)
        # As they were in JSON, like the rows.
        plain = self._decoder.row(msgspec.json.encode(dict(constants)))
        common = {name.lower(): value for name, value in plain.items()}
        for some in _stretches(lines):
            stretch = self._placed(some, common)
            yield stretch
            self._rows += stretch.count

    def end(self) -> None:
        """Look back at all rows.

        :raises OptimoveInputError: a column was chosen that is not documented, and that no row had.
        """
        if self._missing:
            problems = [
                f"{name} is no documented field, and no row has it{self._near(lower)}"
                for lower, name in self._missing.items()
            ]
            raise OptimoveInputError("the columns of the file are not valid", problems=problems)

    def _near(self, lower: str) -> str:
        near = difflib.get_close_matches(lower, self._known, n=1, cutoff=0.8)
        spelled = [*self._layout.fields, *self._layout.list_names, *self._layout.constants, OTHER_FIELDS]
        return f"; did you mean {next(name for name in spelled if name.lower() == near[0])}?" if near else ""

    def misfit(self, stretch: Stretch, position: int, name: str, value: Any, reason: str) -> None:
        """Put a value that does not fit its column among the row's other fields.

        :raises OptimoveInputError: there is no column for them.
        """
        if not self._keeps_all and not self.has_others:
            raise OptimoveInputError(
                f"row {stretch.first + position:,}: {name}: {reason}; add {OTHER_FIELDS} to columns to keep such values"
            )
        stretch.others[position][name] = value

    def others_of(self, stretch: Stretch) -> list[Any]:
        """The values of the column ``OtherFields``: objects, UNSET where there is nothing."""
        values: list[Any] = [UNSET] * stretch.count
        for position, fields in stretch.others.items():
            values[position] = dict(sorted(fields.items()))
        if stretch.others and not self._warned:
            self._warned = True
            position = min(stretch.others)
            log.warning(
                "Row %s has what fits no column: %s. This, and what else fits none, is in the column %s.",
                *(f"{stretch.first + position:,}", ", ".join(values[position]), OTHER_FIELDS),
            )
        return values

    def _begin(self, lines: bytes) -> None:
        undocumented = [column for column in self.columns if column.field.lower() not in self._known]
        if not undocumented and not (self._keeps_all and self.has_others):
            return
        seen: dict[str, str] = {}
        for some in _stretches(lines):
            for name in self._decoder.columns(some):
                seen.setdefault(name.lower(), name)
        self._missing = {column.field.lower(): column.field for column in undocumented}
        for name in seen:
            self._missing.pop(name, None)
        if any(self._near(name) for name in self._missing):
            self.end()
        if self._keeps_all:
            taken = self._known.union(column.name.lower() for column in self.columns)
            self.columns[-1:-1] = [Column(name, name, "text") for lower, name in seen.items() if lower not in taken]

    def _placed(self, lines: bytes, constants: Mapping[str, Any]) -> Stretch:
        found = self._decoder.columns(lines)
        for name in found if self._missing else ():
            self._missing.pop(name.lower(), None)
        spellings: defaultdict[str, list[str]] = defaultdict(list)
        for name in sorted(found):
            spellings[name.lower()].append(name)
        stretch = Stretch(self._rows + 1, lines.count(b"\n") + 1, [], defaultdict(dict))

        def taken(name: str) -> list[Any]:
            default = constants.get(name.lower(), UNSET)
            names = sorted(spellings.pop(name.lower(), ()), key=name.__ne__)
            if not names:
                return [default] * stretch.count
            values = found[names[0]]
            for other in names[1:]:
                values = self._merged(values, other, found[other], stretch)
            return values if default is UNSET else [default if value is UNSET else value for value in values]

        of_list = self._of_list(taken(self._layout.list_field), stretch) if self._spreads_list else []
        for column in self.columns:
            if column.field == OTHER_FIELDS:
                stretch.columns.append(())
            else:
                stretch.columns.append(taken(column.field) if column.position is None else of_list[column.position])
        for lower, names in spellings.items():
            if self._keeps_all or (self.has_others and lower not in self._documented):
                for name in names:
                    for position, value in enumerate(found[name]):
                        if value is not UNSET:
                            stretch.others[position][name] = value
        return stretch

    def _merged(self, values: list[Any], name: str, others: list[Any], stretch: Stretch) -> list[Any]:
        """The values of a field, some of which are spelled as another one."""
        for position, (value, other) in enumerate(zip(values, others, strict=True)):
            if value is UNSET:
                values[position] = other
            elif other is not UNSET and (self._keeps_all or self.has_others):
                stretch.others[position][name] = other
        return values

    def _of_list(self, values: list[Any], stretch: Stretch) -> list[Sequence[Any]]:
        """The values of the list field, a column each."""
        names = self._layout.list_names
        if set(map(type, values)) != {list} or set(map(len, values)) != {len(names)}:
            for position, value in enumerate(values):
                parts = value.split(self._layout.list_delimiter) if isinstance(value, str) and value else value
                if isinstance(parts, list) and len(parts) == len(names):
                    values[position] = parts
                    continue
                empty = value in (None, "", [])
                values[position] = [None if empty else UNSET] * len(names)
                if not empty and value is not UNSET:
                    reason = f"not one value for each of {', '.join(names)}"
                    self.misfit(stretch, position, self._layout.list_field, value, reason)
        return list(zip(*values, strict=True))


def _stretches(lines: bytes) -> Iterator[bytes]:
    """The same lines, cut at the ends of some."""
    start = 0
    while start < len(lines):
        end = lines.find(b"\n", start + STRETCH_BYTES)
        if end < 0:
            end = len(lines)
        yield lines[start:end]
        start = end + 1
