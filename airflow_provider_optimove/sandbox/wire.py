"""What a request says: path, query and body read by the catalogue's declarations, refused with a text that explains."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from airflow_provider_optimove.clients.optimove.functions import Function, Parameter, catalogue, row_fields
from airflow_provider_optimove.clients.optimove.functions.types import (
    Boolean,
    CalendarDate,
    Format,
    Integer,
    Joined,
    Rows,
    Text,
    UtcTime,
)
from airflow_provider_optimove.sandbox.serving import Refused

DEFAULT_PAGE = 10_000
LARGEST_PAGE = 200_000

DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
TIME = re.compile(r"\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}")
WHOLE_NUMBER = re.compile(r"-?\d{1,18}", re.ASCII)
BOOLEANS: Mapping[str, bool] = {"true": True, "1": True, "false": False, "0": False}
LONGEST_SHOWN = 60


class Renamed(NamedTuple):
    """A parameter as the API once called it, which clients still send; ``name`` None: it is ignored."""

    function: str
    earlier: str
    name: str | None
    along_with: str | None = None


RENAMED = (
    Renamed("GetCustomerAttributeChangers", "ChangedCustomerAttributes", "ChangedCustomerAttribute"),
    Renamed("GetCustomerFutureValues", "CustomerAttributes", "CustomerAttribute", "CustomerAttributeValue"),
    Renamed("GetMicrosegmentChangers", "StartDate", None),
    Renamed("GetMicrosegmentChangers", "EndDate", None),
)


@dataclass(frozen=True)
class Request:
    """What one call asks for.

    :param values: the parameters by Optimove's name: dates as ``date``, joined values as lists.
    :param rows: those of the values that are the rows of a write.
    :param skip: rows to leave out, as asked.
    :param top: rows to return, as asked; None when not asked.
    :param renamed: earlier names that were used.
    """

    values: Mapping[str, Any]
    rows: Sequence[Any]
    skip: int
    top: int | None
    renamed: frozenset[str]


class Target(NamedTuple):
    """Where a request goes; ``function`` None: no such function in the group."""

    name: str
    function: Function | None


@cache
def _functions_by_path() -> Mapping[tuple[str, str], Function]:
    return {(function.group, name.lower()): function for name, function in catalogue().items()}


def target(path: str) -> Target | None:
    """The function that a path names, in any letter case, with and without ``current``; None for no API address."""
    segments = [unquote(segment).lower() for segment in urlsplit(path).path.split("/") if segment]
    if segments[:1] == ["current"]:
        del segments[0]
    if len(segments) != 2:
        return None
    function = _functions_by_path().get((segments[0], segments[1]))
    return Target(function.name if function else unquote(urlsplit(path).path.rsplit("/", 1)[-1]), function)


def row_count(function: Function | None, body: bytes) -> int:
    """How many rows a body carries, for the record of calls; 0 when it cannot be read."""
    if function is None or function.rows_parameter is None or not body:
        return 0
    try:
        content = json.loads(body)
    except ValueError:
        return 0
    if function.body is None and isinstance(content, dict):
        rows_name = function.rows_parameter.name.lower()
        content = next((value for key, value in content.items() if key.lower() == rows_name), None)
    return len(content) if isinstance(content, list) else 0


def read(function: Function, query: Sequence[tuple[str, str]], body: bytes, row_limit: int | None) -> Request:
    """The call's parameters.

    :param row_limit: the most rows one call takes; None for any number.
    :raises Refused: unknown, missing, ill-typed or too many.
    """
    query, renamed = _with_present_names(function, query)
    query, skip, top = _without_paging(function, query)
    allowed = {name.lower(): parameter for name, parameter in function.parameters.items()}
    values: dict[str, Any] = {}
    body_parameter = function.rows_parameter if function.body else None
    for name, text in query:
        parameter = allowed.get(name.lower())
        in_body = function.verb == "POST" and not function.body and parameter in function.own_parameters
        if parameter is None or parameter == body_parameter or in_body:
            raise Refused(f"{function.name} does not recognize the parameter {_shown(name)}")
        if parameter.name in values:
            raise Refused(f"{parameter.name} is given more than once")
        values[parameter.name] = _from_text(parameter.name, parameter.format, text)
    if function.verb == "POST":
        content = _content(function, body)
        if body_parameter is not None:
            _check_row_count(body_parameter, content, row_limit)
            values[body_parameter.name] = _from_json("the body", body_parameter.format, content)
        else:
            values |= _from_object(f"the body of {function.name}", allowed, content, function, row_limit)
    for parameter in function.parameters.values():
        if parameter.required and parameter.name not in values:
            raise Refused(f"{function.name} needs {parameter.name}")
    _check_either(function, values)
    rows = values[function.rows_parameter.name] if function.rows_parameter else ()
    return Request(values, rows, skip, top, renamed)


def _with_present_names(
    function: Function, query: Sequence[tuple[str, str]]
) -> tuple[list[tuple[str, str]], frozenset[str]]:
    given = {name.lower() for name, _ in query}
    rules = {
        rule.earlier.lower(): rule
        for rule in RENAMED
        if rule.function == function.name
        and (rule.name is None or rule.name.lower() not in given)
        and (rule.along_with is None or rule.along_with.lower() in given)
    }
    present = []
    for name, text in query:
        rule = rules.get(name.lower())
        if rule is None:
            present.append((name, text))
        elif rule.name is not None:
            present.append((rule.name, text))
    return present, frozenset(rule.earlier for key, rule in rules.items() if key in given)


def _without_paging(
    function: Function, query: Sequence[tuple[str, str]]
) -> tuple[list[tuple[str, str]], int, int | None]:
    rest, paging = [], {}
    for name, text in query:
        key = name.lower()
        if not key.startswith("$"):
            rest.append((name, text))
        elif not function.paged or key not in ("$top", "$skip"):
            raise Refused(f"{function.name} does not recognize the parameter {_shown(name)}")
        elif key in paging:
            raise Refused(f"{key} is given more than once")
        else:
            bounds = Integer(1, LARGEST_PAGE) if key == "$top" else Integer()
            paging[key] = _from_text(key, bounds, text)
    return rest, paging.get("$skip", 0), paging.get("$top")


def _content(function: Function, body: bytes) -> Any:
    if not body:
        raise Refused(f"{function.name} needs a JSON body")
    try:
        return json.loads(body)
    except ValueError:
        raise Refused(f"the body of {function.name} is not valid JSON") from None


def _check_row_count(parameter: Parameter, rows: Any, limit: int | None) -> None:
    if limit is not None and isinstance(rows, list) and len(rows) > limit:
        raise Refused(f"{parameter.name} has {len(rows)} rows; one call takes at most {limit} rows")


def _check_either(function: Function, values: Mapping[str, Any]) -> None:
    by_python_name = {parameter.python_name: name for name, parameter in function.parameters.items()}
    groups = [[by_python_name[member] for member in group] for group in function.either]
    used = [group for group in groups if any(name in values for name in group)]
    if len(used) > 1:
        alternatives = " or ".join(" with ".join(group) for group in groups)
        raise Refused(f"{function.name} takes {alternatives}, not both")
    for group in used:
        for name in group:
            if name not in values:
                raise Refused(f"{function.name} needs {name} along with {' and '.join(n for n in group if n != name)}")


def _shown(value: Any) -> str:
    text = repr(value) if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"


def _from_text(name: str, form: Format, text: str) -> Any:
    match form:
        case Integer():
            if not WHOLE_NUMBER.fullmatch(text):
                raise Refused(f"{name} must be a whole number, not {_shown(text)}")
            return _bounded(name, form, int(text))
        case Boolean():
            if text.lower() not in BOOLEANS:
                raise Refused(f"{name} must be true or false, not {_shown(text)}")
            return BOOLEANS[text.lower()]
        case Joined():
            items = text.split(form.separator)
            if form.at_most is not None and len(items) > form.at_most:
                raise Refused(f"{name} has {len(items)} values; at most {form.at_most} are allowed")
            return [_from_text(name, form.item, item) for item in items]
        case Rows():
            raise Refused(f"{name} does not belong into the query")
        case _:
            return _worded(name, form, text)


def _bounded(name: str, form: Integer, number: int) -> int:
    for refused, why in form.refused:
        if number == refused:
            raise Refused(f"{name} must not be {number}: {why}")
    if number < form.minimum or (form.maximum is not None and number > form.maximum):
        bounds = f"at least {form.minimum}" if form.maximum is None else f"between {form.minimum} and {form.maximum}"
        raise Refused(f"{name} must be {bounds}, not {number}")
    return number


def _worded(name: str, form: Format, text: str) -> Any:
    """Dates, times and strings, which look the same in a query and in a body."""
    match form:
        case CalendarDate():
            try:
                if DATE.fullmatch(text):
                    return datetime.date.fromisoformat(text)
            except ValueError:
                pass
            raise Refused(f"{name} must be a date as YYYY-MM-DD, not {_shown(text)}")
        case UtcTime():
            try:
                if TIME.fullmatch(text):
                    return datetime.datetime.fromisoformat(text).isoformat(" ")
            except ValueError:
                pass
            raise Refused(f"{name} must be a time as YYYY-MM-DD HH:MM:SS, not {_shown(text)}")
        case Text():
            if len(text) < form.minimum_length:
                raise Refused(f"{name} must not be empty")
            if form.maximum_length is not None and len(text) > form.maximum_length:
                raise Refused(f"{name} has {len(text)} characters; at most {form.maximum_length} are allowed")
            if form.choices and text not in form.choices:
                raise Refused(f"{name} must be one of {', '.join(map(_shown, form.choices))}, not {_shown(text)}")
            return text
    raise TypeError(f"{form} is no format of a string")


def _from_json(name: str, form: Format, value: Any) -> Any:
    match form:
        case Integer():
            if not isinstance(value, int) or isinstance(value, bool):
                raise Refused(f"{name} must be a whole number, not {_shown(value)}")
            return _bounded(name, form, value)
        case Boolean():
            if not isinstance(value, bool):
                raise Refused(f"{name} must be true or false, not {_shown(value)}")
            return value
        case Rows():
            if not isinstance(value, list):
                raise Refused(f"{name} must be an array, not {_shown(value)}")
            if isinstance(form.shape, Text) and _all_fit(form.shape, value):
                return value
            return [_row(f"row {number} of {name}", form.shape, row) for number, row in enumerate(value, 1)]
        case Joined():
            return _from_text(name, form, _string(name, value))
        case _:
            return _worded(name, form, _string(name, value))


def _string(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise Refused(f"{name} must be a string, not {_shown(value)}")
    return value


def _all_fit(form: Text, values: list[Any]) -> bool:
    """Whether all are allowed: for a million of ids, where one by one takes long."""
    if form.choices or not set(map(type, values)) <= {str}:
        return False
    lengths = set(map(len, values))
    longest = form.maximum_length
    return not lengths or (min(lengths) >= form.minimum_length and (longest is None or max(lengths) <= longest))


def _row(where: str, shape: Any, row: Any) -> Any:
    if isinstance(shape, Format):
        return _from_json(where, shape, row)
    fields = _fields(shape)
    values = _from_object(where, fields, row)
    for field in fields.values():
        if field.required and field.name not in values:
            raise Refused(f"{where} needs {field.name}")
    return values


@cache
def _fields(shape: Any) -> Mapping[str, Parameter]:
    return {name.lower(): field for name, field in row_fields(shape).items()}


def _from_object(
    where: str,
    allowed: Mapping[str, Parameter],
    content: Any,
    function: Function | None = None,
    row_limit: int | None = None,
) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise Refused(f"{where} must be an object, not {_shown(content)}")
    values: dict[str, Any] = {}
    for key, value in content.items():
        parameter = allowed.get(key.lower())
        if parameter is None:
            raise Refused(f"{where} has an unknown field {_shown(key)}")
        if parameter.name in values:
            raise Refused(f"{where} has {parameter.name} more than once")
        if value is None and not parameter.required:
            continue
        if function is not None and parameter == function.rows_parameter:
            _check_row_count(parameter, value, row_limit)
        name = parameter.name if function is not None else f"{parameter.name} in {where}"
        values[parameter.name] = _from_json(name, parameter.format, value)
    return values
