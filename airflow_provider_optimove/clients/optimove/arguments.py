"""The arguments of a call: checked against the declarations and brought into the form that is sent. No I/O."""

from __future__ import annotations

import datetime
import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from airflow_provider_optimove.clients.optimove.functions import (
    Function,
    catalogue,
    names_without_case,
    row_fields,
)
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
from airflow_provider_optimove.clients.optimove.paging import LARGEST_PAGE
from airflow_provider_optimove.exceptions import (
    MOST_PROBLEMS_SHOWN,
    OptimoveInputError,
    OptimoveUnknownFunctionError,
)

LONGEST_VALUE_SHOWN = 60
LARGEST_INTEGER = 2**63 - 1
PAGE_PARAMETERS = ("$top", "$skip")


def find_function(name: str) -> Function:
    """A function by Optimove's name, in any letter case.

    :raises OptimoveUnknownFunctionError: there is none of that name.
    """
    known = names_without_case()
    if isinstance(name, str) and (found := known.get(name.replace("_", "").lower())):
        return catalogue()[found]
    near = difflib.get_close_matches(str(name).lower(), known, n=1)
    hint = f"; did you mean {known[near[0]]}?" if near else ""
    raise OptimoveUnknownFunctionError(f"Optimove has no function {_shown(name)}{hint}")


def bind(
    function: Function,
    parameters: Mapping[str, Any] | None = None,
    *,
    keywords: Mapping[str, Any] | None = None,
    body: Any = None,
) -> dict[str, Any]:
    """Check the arguments of a call and bring them into the form that is sent.

    :param function: what is to be called.
    :param parameters: values by name, in any letter case; None counts as not given.
    :param keywords: the same, given as Python keywords.
    :param body: of a POST function, the body as the guide shows it.
    :returns: checked values by Optimove's names.
    :raises OptimoveInputError: everything that is wrong, in one error.
    """
    problems: list[str] = []
    unlisted = 0
    given: dict[str, Any] = {}
    pairs = [*_items(parameters, "parameters", problems), *(keywords or {}).items()]
    if body is not None:
        if function.reads:
            problems.append("body: a GET function has none; give its parameters by name")
        elif function.body is not None:
            pairs.append((function.body, body))
        else:
            pairs.extend(_items(body, "body", problems))
    known = {name.lower(): name for name in function.parameters}
    if function.paged:
        known |= {name: name for name in PAGE_PARAMETERS}
    for written, value in pairs:
        name = known.get(str(written).replace("_", "").lower())
        if name is None:
            problems.append(_unknown_name(written, function))
        elif value is None:
            continue
        elif name in given:
            problems.append(f"{name}: given twice")
        else:
            given[name] = value

    bound: dict[str, Any] = {}
    for name, parameter in function.parameters.items():
        if name in given:
            try:
                if parameter.python_name == function.rows:
                    value = _one_call_of_rows(parameter.format, given[name], function.max_rows)
                else:
                    value = _value_check(parameter.format)(given[name])
            except _Unfit as unfit:
                problems.extend(unfit.under(name))
                unlisted += unfit.unlisted
            else:
                if value != "" or not isinstance(parameter.format, Joined):
                    bound[name] = value
        elif parameter.required:
            problems.append(f"{name}: required, {_expected(parameter.format)}")
    for name in PAGE_PARAMETERS:
        if name in given:
            try:
                limits = Integer(minimum=1, maximum=LARGEST_PAGE) if name == "$top" else Integer()
                bound[name] = _integer(limits, given[name])
            except _Unfit as unfit:
                problems.extend(unfit.under(name))
    problems.extend(_rule_problems(function, bound))
    if problems:
        raise OptimoveInputError(
            "the arguments are not valid",
            function=function.name,
            problems=problems,
            count=len(problems) + unlisted,
        )
    return bound


def checked_rows(function: Function, rows: Iterable[Any], *, first_row: int = 1) -> list[Any]:
    """Check the rows of a write and bring them into the form that is sent.

    :param function: a function that takes rows.
    :param rows: mappings with the declared fields in any letter case, or bare values.
    :param first_row: the number of the first of them.
    :raises OptimoveInputError: naming the bad rows by number, up to 20 of them.
    """
    good, problems, bad = _check_rows(function.row_shape, rows, first_row)
    if bad:
        raise OptimoveInputError(
            f"{bad:,} of {len(good) + bad:,} rows {'is' if bad == 1 else 'are'} not valid",
            function=function.name,
            problems=problems,
            count=bad,
        )
    return good


def checked_value(function: Function, name: str, value: Any, expected: Format) -> Any:
    """Check one value that is not a parameter of Optimove's.

    :raises OptimoveInputError: naming it.
    """
    try:
        return _value_check(expected)(value)
    except _Unfit as unfit:
        raise OptimoveInputError(
            "the arguments are not valid", function=function.name, problems=list(unfit.under(name))
        ) from None


class _Unfit(Exception):
    """A value that cannot be sent: problems, each with the path of the field it is in, and how many more there are."""

    def __init__(self, *problems: str, unlisted: int = 0) -> None:
        super().__init__(*problems)
        self.unlisted = unlisted

    def under(self, name: str) -> Iterator[str]:
        for problem in self.args:
            yield f"{name}: {problem}" if name else problem


def _items(mapping: Any, what: str, problems: list[str]) -> list[tuple[str, Any]]:
    if mapping is None:
        return []
    if not isinstance(mapping, Mapping):
        problems.append(f"{what}: expected an object with values by name, got {type(mapping).__name__}")
        return []
    return list(mapping.items())


def _unknown_name(written: Any, function: Function) -> str:
    own = [parameter.name for parameter in function.own_parameters]
    takes = f"takes {', '.join(own)}" if own else "takes none of its own"
    known = {name.lower(): name for name in function.parameters}
    near = difflib.get_close_matches(str(written).replace("_", "").lower(), known, n=1)
    hint = f"; did you mean {known[near[0]]}?" if near else ""
    return f"{_shown(written)}: no such parameter{hint} ({function.name} {takes})"


def _rule_problems(function: Function, bound: Mapping[str, Any]) -> Iterator[str]:
    groups = [[p.name for p in function.own_parameters if p.python_name in group] for group in function.either]
    begun = [group for group in groups if any(name in bound for name in group)]
    if len(begun) > 1:
        yield f"{' and '.join(groups[0])}: not together with {' and '.join(groups[1])}; give one or the other"
    for group in begun:
        for name in group:
            if name not in bound:
                yield f"{name}: needed together with {', '.join(other for other in group if other != name)}"
    start, end = bound.get("StartDate"), bound.get("EndDate")
    # Optimove ignores the dates of recommendations that need not stand in a campaign.
    ignored = "SuggestedInCampaign" in function.parameters and not bound.get("SuggestedInCampaign")
    if start and end and start > end and not ignored:
        yield f"StartDate: {start} is after EndDate {end}"


def _value_check(expected: Format) -> Callable[[Any], Any]:
    checks: dict[type, Callable[[Any, Any], Any]] = {
        Integer: _integer,
        Text: _text,
        Boolean: _boolean,
        CalendarDate: _calendar_date,
        UtcTime: _utc_time,
        Joined: _joined,
        Rows: _rows,
    }
    check = checks[type(expected)]
    return lambda value: check(expected, value)


def _one_call_of_rows(expected: Format, value: Any, limit: int | None) -> list[Any]:
    rows = _rows(expected, value)
    if not rows:
        raise _Unfit("at least one row is needed")
    if limit is not None and len(rows) > limit:
        raise _Unfit(f"{len(rows):,} rows, and one call takes at most {limit:,}; send them in several")
    return rows


def _rows(expected: Format, value: Any) -> list[Any]:
    assert isinstance(expected, Rows)
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
        raise _Unfit(f"{_expected(expected)}, got {_shown(value)}")
    good, problems, bad = _check_rows(expected.shape, value, 1)
    if problems:
        raise _Unfit(*problems, unlisted=bad - len(problems))
    return good


def _check_rows(shape: Any, rows: Iterable[Any], first_row: int) -> tuple[list[Any], list[str], int]:
    """The good rows as they are sent, what is wrong with the first bad ones, and how many are bad."""
    check = _row_check(shape) if isinstance(shape, type) else _value_check(shape)
    good: list[Any] = []
    problems: list[str] = []
    bad = 0
    for number, row in enumerate(rows, first_row):
        try:
            good.append(check(row))
        except _Unfit as unfit:
            bad += 1
            if bad <= MOST_PROBLEMS_SHOWN:
                problems.append(f"row {number}: {'; '.join(unfit.args)}")
    return good, problems, bad


def _row_check(shape: type) -> Callable[[Any], dict[str, Any]]:
    fields = row_fields(shape)
    names = {name.lower(): name for name in fields}
    checks = {name: _value_check(field.format) for name, field in fields.items()}
    required = [name for name, field in fields.items() if field.required]
    allowed = ", ".join(fields)

    def check(row: Any) -> dict[str, Any]:
        if not isinstance(row, Mapping):
            raise _Unfit(f"expected an object with {allowed}, got {_shown(row)}")
        problems: list[str] = []
        checked: dict[str, Any] = {}
        seen: set[str] = set()
        for written, value in row.items():
            name = written if written in fields else names.get(str(written).lower())
            if name is None:
                problems.append(f"{_shown(written)}: no such field (fields are {allowed})")
                continue
            if name in seen:
                problems.append(f"{name}: given twice")
            seen.add(name)
            if value is None and name not in required:
                continue
            try:
                checked[name] = checks[name](value)
            except _Unfit as unfit:
                problems.extend(unfit.under(name))
        problems.extend(f"{name}: missing" for name in required if name not in seen)
        if problems:
            raise _Unfit(*problems)
        return checked

    return check


def _integer(expected: Integer, value: Any) -> int:
    number = None
    if isinstance(value, str):
        words = dict(expected.names)
        number = words.get(value.strip().lower())
        if number is None and re.fullmatch(r"\s*[+-]?[0-9]{1,30}\s*", value):
            number = int(value)
    elif not isinstance(value, bool) and hasattr(value, "__index__"):
        number = value.__index__()
    if number is None:
        raise _Unfit(f"{_expected(expected)}, got {_shown(value)}")
    for refused, reason in expected.refused:
        if number == refused:
            raise _Unfit(f"{number} is not accepted: {reason}")
    if not expected.minimum <= number <= (LARGEST_INTEGER if expected.maximum is None else expected.maximum):
        raise _Unfit(f"{_expected(expected)}, got {_shown(int(number))}")
    return int(number)


def _text(expected: Text, value: Any) -> str:
    shown = "another value" if expected.secret else _shown(value)
    text = str(value.__index__()) if not isinstance(value, bool) and hasattr(value, "__index__") else value
    if not isinstance(text, str):
        raise _Unfit(f"{_expected(expected)}, got {shown}")
    if not expected.choices and len(text.strip()) < expected.minimum_length:
        raise _Unfit("must not be empty")
    if expected.maximum_length is not None and len(text) > expected.maximum_length:
        raise _Unfit(f"at most {expected.maximum_length} characters, got {len(text)}")
    if expected.choices and text not in expected.choices:
        raise _Unfit(f"{_expected(expected)}, got {shown}")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _Unfit("holds half of a surrogate pair, which is no character") from None
    return str(text)


def _boolean(expected: Boolean, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower() if isinstance(value, (str, int)) else ""
    if word in ("true", "1"):
        return True
    if word in ("false", "0"):
        return False
    raise _Unfit(f"{_expected(expected)}, got {_shown(value)}")


def _calendar_date(expected: CalendarDate, value: Any) -> str:
    if isinstance(value, datetime.datetime):
        return value.date().isoformat()
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, str) and re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value.strip()):
        with suppress(ValueError):
            return datetime.date.fromisoformat(value.strip()).isoformat()
    raise _Unfit(f"{_expected(expected)}, got {_shown(value)}")


def _utc_time(expected: UtcTime, value: Any) -> str:
    moment = value
    if isinstance(value, str) and len(value.strip()) > len("YYYY-MM-DD"):
        with suppress(ValueError):
            moment = datetime.datetime.fromisoformat(value.strip())
    if not isinstance(moment, datetime.datetime):
        raise _Unfit(f"{_expected(expected)}, got {_shown(value)}")
    if moment.tzinfo is not None:
        try:
            moment = moment.astimezone(datetime.UTC)
        except OverflowError:
            raise _Unfit(f"{_expected(expected)}, got {_shown(value)}") from None
    return moment.replace(tzinfo=None).isoformat(" ", "seconds")


def _joined(expected: Joined, value: Any) -> str:
    if isinstance(value, str):
        values: Sequence[Any] = [part.strip() for part in value.split(expected.separator)] if value.strip() else []
    elif isinstance(value, Sequence) and not isinstance(value, bytes):
        values = value
    else:
        values = [value]
    if expected.at_most is not None and len(values) > expected.at_most:
        raise _Unfit(f"at most {expected.at_most} are allowed, got {len(values)}")
    if not values and not expected.optional:
        raise _Unfit("an empty list; leave it out for all")
    check = _value_check(expected.item)
    parts = []
    for number, item in enumerate(values, 1):
        try:
            part = str(check(item))
        except _Unfit as unfit:
            raise _Unfit(*unfit.under(f"value {number}")) from None
        if expected.separator in part:
            raise _Unfit(f"value {number}: {_shown(part)} contains the separator {expected.separator!r}")
        parts.append(part)
    return expected.separator.join(parts)


def _expected(expected: Format) -> str:
    if isinstance(expected, Integer):
        words = f" or one of {', '.join(word for word, _ in expected.names)}" if expected.names else ""
        if expected.maximum is not None:
            return f"expected a whole number from {expected.minimum} to {expected.maximum}{words}"
        return f"expected a whole number of {expected.minimum} or more{words}"
    if isinstance(expected, Text):
        return f"expected one of {', '.join(map(repr, expected.choices))}" if expected.choices else "expected text"
    if isinstance(expected, Boolean):
        return "expected true or false"
    if isinstance(expected, CalendarDate):
        return "expected a date, YYYY-MM-DD"
    if isinstance(expected, UtcTime):
        return "expected a date and time, YYYY-MM-DD HH:MM:SS in UTC"
    if isinstance(expected, Joined):
        return "expected a list"
    if isinstance(expected.shape, type):
        return f"expected a list of objects with {', '.join(row_fields(expected.shape))}"
    return "expected a list of values"


def _shown(value: Any) -> str:
    text = repr(value)
    if len(text) > LONGEST_VALUE_SHOWN:
        text = f"{text[:LONGEST_VALUE_SHOWN]}..."
    return text if isinstance(value, (str, int, float)) else f"{type(value).__name__} {text}"
