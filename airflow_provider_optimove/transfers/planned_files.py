"""Which calls go into which file, and what the file then holds. No I/O."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from airflow_provider_optimove.clients.optimove.arguments import bind
from airflow_provider_optimove.clients.optimove.functions import Function, Parameter, answer_fields
from airflow_provider_optimove.clients.optimove.functions.types import (
    Boolean,
    CalendarDate,
    Format,
    Integer,
    Joined,
    UtcTime,
)
from airflow_provider_optimove.exceptions import OptimoveInputError
from airflow_provider_optimove.hooks.task_arguments import text_problems
from airflow_provider_optimove.storage.formats import FileFormat
from airflow_provider_optimove.storage.paths import location_of, shown_path
from airflow_provider_optimove.storage.shaping import FileLayout, Kind

log = logging.getLogger(__name__)

ATTRIBUTES = "CustomerAttributes"
ATTRIBUTES_DELIMITER = "CustomerAttributesDelimiter"

_PLACEHOLDER = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class PlannedFile:
    """One file, and the calls whose rows go into it.

    :param path: where it lies.
    :param calls: checked arguments of the calls, by Optimove's names.
    :param numbers: which ones of those that were given they are; the first is call 1.
    :param arguments: the columns that arguments can become: the arguments' names by the columns'.
    :param shared: whether the calls may differ in their arguments, so that each of them becomes a column.
    """

    path: str
    calls: tuple[Mapping[str, Any], ...]
    numbers: tuple[int, ...]
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
    checked = dict(_checked_calls(function, parameters if several else [parameters], several, problems))
    columns = _columns_of_arguments(function, list(checked.values()))
    if has_placeholder(path):
        files = [
            PlannedFile(_filled_in(path, function, call, problems), (call,), (number,), columns, shared=False)
            for number, call in checked.items()
        ]
    else:
        files = [PlannedFile(path, tuple(checked.values()), tuple(checked), columns, shared=several)]
        for name, parameter in function.parameters.items():
            if _shapes_rows(parameter) and len({call.get(name) for call in checked.values()}) > 1:
                problems.append(f"{name}: all calls whose rows go into one file need the same")
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
    chosen = {name.lower() for name in columns or ()}
    call = file.calls[0] if file.calls else {}
    attributes = tuple(call[ATTRIBUTES].split(";")) if ATTRIBUTES in call else ()
    attribute_names = {name.lower() for name in attributes}
    if attributes_as_fields is None:
        named = chosen.union(name.lower() for name in rename or ())
        attributes_as_fields = file_format != "jsonl" or not named.isdisjoint(attribute_names)
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
            if file.shared or (column.lower() in chosen and column.lower() not in attribute_names)
        },
        columns=None if columns is None else tuple(columns),
        rename=rename or {},
    )
    try:
        layout.check()
    except OptimoveInputError as error:
        error.function = function.name
        raise
    return layout


def _kind_of(format_: Format) -> Kind:
    kinds: Mapping[type, Kind] = {Integer: "integer", Boolean: "boolean", CalendarDate: "date", UtcTime: "time"}
    return kinds.get(type(format_), "text")


def shown_call(function: Function, call: Mapping[str, Any]) -> str:
    """The arguments of a call in brackets, as a log may show them: nothing that may name a customer."""
    plain = [f"{name} {value}" for name, value in call.items() if _kind_of(function.parameters[name].format) != "text"]
    return f" ({', '.join(plain)})" if plain else ""


def _checked_calls(
    function: Function, parameters: Sequence[Any], several: bool, problems: list[str]
) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Valid calls by their numbers."""
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
            yield number, call
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
    seen: dict[str, PlannedFile] = {}
    for file in files:
        if (first := seen.setdefault(location_of(file.path), file)) is not file:
            yield f"path: calls {first.numbers[0]} and {file.numbers[0]} have the same, {shown_path(file.path)}"


def _shapes_rows(parameter: Parameter) -> bool:
    """Whether it is about what the rows hold, and not about which rows there are."""
    names_attributes = isinstance(parameter.format, Joined) and parameter.format.optional
    return names_attributes or parameter.name == ATTRIBUTES_DELIMITER


def _columns_of_arguments(function: Function, calls: Sequence[Mapping[str, Any]]) -> Mapping[str, str]:
    # Without a call, the columns that a file of the next day will surely have.
    given = (
        {name for call in calls for name in call} if calls else {p.name for p in function.own_parameters if p.required}
    )
    fields = {name.lower() for name in answer_fields(function.answer_shape)}
    columns = {}
    for name, parameter in function.parameters.items():
        if name in given and not _shapes_rows(parameter):
            # An id means the same in the rows; the date that is asked for is not the date of a row.
            differs = name.lower() in fields and not name.endswith("ID")
            columns[f"Requested{name}" if differs else name] = name
    return columns
