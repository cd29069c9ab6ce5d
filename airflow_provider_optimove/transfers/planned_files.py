"""Which calls go into which file, and what the file then holds. No I/O."""

from __future__ import annotations

import difflib
import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote

from airflow_provider_optimove.clients.optimove.arguments import bind
from airflow_provider_optimove.clients.optimove.functions import Function, answer_fields
from airflow_provider_optimove.clients.optimove.functions.types import (
    Boolean,
    CalendarDate,
    Format,
    Integer,
    Joined,
    UtcTime,
)
from airflow_provider_optimove.exceptions import OptimoveInputError
from airflow_provider_optimove.hooks.rendered_values import text_problems
from airflow_provider_optimove.storage.paths import location_of, shown_path
from airflow_provider_optimove.storage.shaping import OTHER_FIELDS, FileLayout, Kind

log = logging.getLogger(__name__)

FileFormat = Literal["jsonl", "csv", "parquet"]
FORMATS: Mapping[str, FileFormat] = {"jsonl": "jsonl", "ndjson": "jsonl", "csv": "csv", "parquet": "parquet"}
ATTRIBUTES = "CustomerAttributes"
ATTRIBUTES_DELIMITER = "CustomerAttributesDelimiter"

_PLACEHOLDER = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class PlannedFile:
    """One file, and the calls whose rows go into it.

    :param path: where it lies.
    :param calls: checked arguments of the calls, by Optimove's names.
    :param arguments: the columns that arguments can become: the arguments' names by the columns'.
    :param shared: whether the calls may differ in their arguments, so that each of them becomes a column.
    """

    path: str
    calls: tuple[Mapping[str, Any], ...]
    arguments: Mapping[str, str]
    shared: bool


def has_placeholder(path: str) -> bool:
    """Whether a path names an argument of the call in braces."""
    return bool(_PLACEHOLDER.search(path))


def planned_files(function: Function, parameters: Any, path: str) -> list[PlannedFile]:
    """Sort calls into files.

    :param function: what is called.
    :param parameters: the arguments of one call by name, or a list of such.
    :param path: where the rows go. ``{CampaignID}`` in it stands for an argument's value, so that each call of a list
        gets a file of its own; without, all calls of a list go into one.
    :raises OptimoveInputError: everything that is wrong with arguments and path, in one error.
    """
    several = isinstance(parameters, Sequence) and not isinstance(parameters, str)
    problems: list[str] = []
    calls = list(_checked_calls(function, parameters if several else [parameters], several, problems))
    columns = _columns_of_arguments(function, calls)
    if has_placeholder(path):
        files = [PlannedFile(_filled_in(path, function, call, problems), (call,), columns, False) for call in calls]
    else:
        files = [PlannedFile(path, tuple(calls), columns, several)]
        if len({tuple(call.get(name) for name in (ATTRIBUTES, ATTRIBUTES_DELIMITER)) for call in calls}) > 1:
            problems.append("CustomerAttributes: all calls whose rows go into one file need the same")
    problems += _paths_given_twice(files)
    if re.search(r"[{}]", _PLACEHOLDER.sub("", path)):
        problems.append(
            f"path: {shown_path(path)} has a brace that belongs to no argument's name, as in {{CampaignID}}"
        )
    if problems:
        raise OptimoveInputError("the arguments are not valid", function=function.name, problems=problems)
    return files


def layout_of(
    function: Function,
    file: PlannedFile,
    file_format: FileFormat,
    *,
    columns: Sequence[str] | None = None,
    rename: Mapping[str, str] | None = None,
    attributes_as_fields: bool | None = None,
) -> FileLayout:
    """What a file holds.

    :param function: the function whose rows it holds.
    :param file: the calls whose rows it holds.
    :param file_format: its format.
    :param columns: the only columns; None: all.
    :param rename: names in the file, by the columns' own names.
    :param attributes_as_fields: whether each customer attribute is a column; None: in CSV and Parquet, and where one is
        named.
    :raises OptimoveInputError: names that cannot be.
    """
    named = {name.lower() for name in (*(columns or ()), *(rename or ()))}
    call = file.calls[0] if file.calls else {}
    attributes = tuple(call[ATTRIBUTES].split(";")) if ATTRIBUTES in call else ()
    if attributes_as_fields is None:
        attributes_as_fields = file_format != "jsonl" or not named.isdisjoint(name.lower() for name in attributes)
    fields = dict(answer_fields(function.answer_shape))
    if attributes:
        fields.setdefault(ATTRIBUTES, "json")
    else:
        fields.pop(ATTRIBUTES, None)
    layout = FileLayout(
        fields,
        list_field=ATTRIBUTES,
        list_names=attributes if attributes_as_fields else (),
        list_delimiter=call.get(ATTRIBUTES_DELIMITER, ","),
        constants={
            column: _kind_of(function.parameters[name].format)
            for column, name in file.arguments.items()
            if file.shared or column.lower() in named
        },
        columns=None if columns is None else tuple(columns),
        rename=rename or {},
    )
    try:
        layout.check()
    except OptimoveInputError as error:
        error.function = function.name
        raise
    if misspelt := list(_misspelt(columns or (), layout, file.arguments)):
        raise OptimoveInputError("the columns of the file are not valid", function=function.name, problems=misspelt)
    return layout


def _misspelt(columns: Sequence[str], layout: FileLayout, arguments: Iterable[str]) -> Iterator[str]:
    """Undocumented fields can be columns, too, but not what looks like a slip."""
    documented = {name.lower(): name for name in (*layout.fields, *layout.list_names, *arguments, OTHER_FIELDS)}
    for name in columns:
        if name.lower() not in documented:
            for near in difflib.get_close_matches(name.lower(), documented, n=1, cutoff=0.85):
                yield f"columns names {name}; did you mean {documented[near]}?"


def _kind_of(format_: Format) -> Kind:
    kinds: Mapping[type, Kind] = {Integer: "integer", Boolean: "boolean", CalendarDate: "date", UtcTime: "time"}
    return kinds.get(type(format_), "text")


def format_of(path: str, file_format: FileFormat | None) -> tuple[FileFormat, bool]:
    """The format of a file, and whether it is compressed.

    :param file_format: None: as the path's ending says.
    :raises OptimoveInputError: the ending names no format, or Parquet is to be compressed once more.
    """
    name = path.lower()
    compressed = name.endswith(".gz")
    found = file_format or FORMATS.get(name.removesuffix(".gz").rpartition(".")[2])
    if found is None or (found == "parquet" and compressed):
        raise OptimoveInputError(
            f"path: {shown_path(path)} ends in none of .jsonl, .ndjson, .csv (each also with .gz) and .parquet;"
            " file_format takes jsonl, csv or parquet for other endings"
        )
    return found, compressed


def shown_call(function: Function, call: Mapping[str, Any]) -> str:
    """The arguments of a call as a log may show them: numbers and dates, but nothing that may name a customer."""
    plain = {name: value for name, value in call.items() if _kind_of(function.parameters[name].format) != "text"}
    return ", ".join(f"{name} {value}" for name, value in plain.items())


def _checked_calls(
    function: Function, parameters: Sequence[Any], several: bool, problems: list[str]
) -> Iterator[Mapping[str, Any]]:
    numbers: dict[tuple[tuple[str, Any], ...], int] = {}
    for number, given in enumerate(parameters, start=1):
        try:
            if found := list(text_problems(function, given)):
                raise OptimoveInputError("the arguments are not valid", problems=found)
            call = bind(function, given)
        except OptimoveInputError as error:
            problems += [f"call {number}: {problem}" if several else problem for problem in error.problems]
            continue
        if (first := numbers.setdefault(tuple(sorted(call.items())), number)) == number:
            yield call
        else:
            log.warning("%s: call %d is the same as call %d, and made once only", function.name, number, first)


def _filled_in(path: str, function: Function, call: Mapping[str, Any], problems: list[str]) -> str:
    values = {name.lower(): value for name, value in call.items()}

    def value_of(placeholder: re.Match[str]) -> str:
        name = placeholder[1].replace("_", "").lower()
        if name not in values:
            problems.append(f"path: {placeholder[0]} is none of the call's arguments ({', '.join(call) or 'none'})")
            return ""
        value = values[name]
        text = quote(str(value).lower() if isinstance(value, bool) else str(value), safe=" ").replace("~", "%7E")
        # What is no plain word must not lead into another folder.
        return text if text.strip(".") else text.replace(".", "%2E")

    return _PLACEHOLDER.sub(value_of, path)


def _paths_given_twice(files: Sequence[PlannedFile]) -> Iterator[str]:
    seen: dict[str, int] = {}
    for number, file in enumerate(files, start=1):
        if (first := seen.setdefault(location_of(file.path), number)) != number:
            yield f"path: calls {first} and {number} have the same, {shown_path(file.path)}"


def _columns_of_arguments(function: Function, calls: Sequence[Mapping[str, Any]]) -> Mapping[str, str]:
    # Without a call, the columns that a file of the next day will surely have.
    given = (
        {name for call in calls for name in call} if calls else {p.name for p in function.own_parameters if p.required}
    )
    fields = {name.lower() for name in answer_fields(function.answer_shape)}
    columns = {}
    for name, parameter in function.parameters.items():
        names_attributes = isinstance(parameter.format, Joined) and parameter.format.optional
        if name in given and not names_attributes and name != ATTRIBUTES_DELIMITER:
            # An id means the same in the rows; the date that is asked for is not the date of a row.
            differs = name.lower() in fields and not name.endswith("ID")
            columns[f"Requested{name}" if differs else name] = name
    return columns
