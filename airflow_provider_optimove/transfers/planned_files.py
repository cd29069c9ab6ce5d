"""Which calls go into which file, and what the file then holds. No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote

from airflow_provider_optimove.clients.optimove.arguments import bind
from airflow_provider_optimove.clients.optimove.functions import Function, answer_fields
from airflow_provider_optimove.clients.optimove.functions.types import Boolean, CalendarDate, Format, Integer, UtcTime
from airflow_provider_optimove.exceptions import OptimoveInputError
from airflow_provider_optimove.storage.paths import location_of, shown_path
from airflow_provider_optimove.storage.shaping import FileLayout, Kind

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
    :param constants: names of the arguments that become columns, because the calls differ in them.
    """

    path: str
    calls: tuple[Mapping[str, Any], ...]
    constants: tuple[str, ...] = ()


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
    if has_placeholder(path):
        files = [PlannedFile(_filled_in(path, function, call, problems), (call,)) for call in calls]
        problems += _paths_given_twice(files)
    else:
        files = [PlannedFile(path, tuple(calls), _constants(function, calls) if several else ())]
        if len({tuple(call.get(name) for name in (ATTRIBUTES, ATTRIBUTES_DELIMITER)) for call in calls}) > 1:
            problems.append("CustomerAttributes: all calls whose rows go into one file need the same")
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
    call = file.calls[0] if file.calls else {}
    attributes = tuple(call[ATTRIBUTES].split(";")) if ATTRIBUTES in call else ()
    if attributes_as_fields is None:
        named = {name.lower() for name in (*(columns or ()), *(rename or ()))}
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
        constants={name: _kind_of(function.parameters[name].format) for name in file.constants},
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


def _checked_calls(
    function: Function, parameters: Sequence[Any], several: bool, problems: list[str]
) -> Iterator[Mapping[str, Any]]:
    for number, given in enumerate(parameters, start=1):
        if isinstance(given, str):
            problems.append(
                "parameters: expected an object with values by name, or a list of such, got text. Pass the upstream"
                " task's output, or set render_template_as_native_obj=True on the DAG, so that a template gives the"
                " object itself"
            )
            continue
        try:
            yield bind(function, given)
        except OptimoveInputError as error:
            problems += [f"call {number}: {problem}" if several else problem for problem in error.problems]


def _filled_in(path: str, function: Function, call: Mapping[str, Any], problems: list[str]) -> str:
    values = {name.lower(): value for name, value in call.items()}

    def value_of(placeholder: re.Match[str]) -> str:
        name = placeholder[1].replace("_", "").lower()
        if name not in values:
            problems.append(f"path: {placeholder[0]} is none of the call's arguments ({', '.join(call) or 'none'})")
            return ""
        # What is no plain word must not lead into another folder.
        return quote(str(values[name]), safe=" ")

    return _PLACEHOLDER.sub(value_of, path)


def _paths_given_twice(files: Sequence[PlannedFile]) -> Iterator[str]:
    seen: dict[str, int] = {}
    for number, file in enumerate(files, start=1):
        if (first := seen.setdefault(location_of(file.path), number)) != number:
            yield f"path: calls {first} and {number} have the same, {shown_path(file.path)}"


def _constants(function: Function, calls: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    # Without a call, the columns that a file of the next day will surely have.
    given = (
        {name for call in calls for name in call} if calls else {p.name for p in function.own_parameters if p.required}
    )
    return tuple(
        name for name in function.parameters if name in given and name not in (ATTRIBUTES, ATTRIBUTES_DELIMITER)
    )
