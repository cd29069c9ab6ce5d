"""One value at a time: whether it can be sent, and in which form. No I/O."""

from __future__ import annotations

import datetime
import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from airflow_provider_optimove.clients.optimove.functions import Parameter, row_fields
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
from airflow_provider_optimove.exceptions import MOST_PROBLEMS_SHOWN

LONGEST_VALUE_SHOWN = 60
LARGEST_INTEGER = 2**63 - 1


class Unfit(Exception):
    """A value that cannot be sent: problems, each with the path of the field it is in, and how many more there are."""

    def __init__(self, *problems: str, unlisted: int = 0) -> None:
        super().__init__(*problems)
        self.unlisted = unlisted

    def under(self, name: str) -> Iterator[str]:
        """The problems with a name in front."""
        for problem in self.args:
            yield f"{name}: {problem}" if name else problem


def value_check(expected: Format) -> Callable[[Any], Any]:
    """What checks a value of a format and brings it into the form that is sent; raises :class:`Unfit`."""
    checks: dict[type, Callable[[Any, Any], Any]] = {
        Integer: integer_value,
        Text: _text,
        Boolean: _boolean,
        CalendarDate: _calendar_date,
        UtcTime: _utc_time,
        Joined: _joined,
        Rows: rows_value,
    }
    check = checks[type(expected)]
    return lambda value: check(expected, value)


def rows_value(expected: Format, value: Any) -> list[Any]:
    """The rows of an array as they are sent."""
    assert isinstance(expected, Rows)
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
        raise Unfit(f"{expectation(expected)}, got {shown(value)}")
    good, problems, bad = check_rows(expected.shape, value)
    if problems:
        raise Unfit(*problems, unlisted=bad - len(problems))
    return good


def check_rows(shape: Any, rows: Iterable[Any]) -> tuple[list[Any], list[str], int]:
    """The good rows as they are sent, what is wrong with the first bad ones, and how many are bad.

    :param shape: the TypedDict of a row, or the format of a bare value.
    """
    check = row_check(row_fields(shape)) if isinstance(shape, type) else value_check(shape)
    good: list[Any] = []
    problems: list[str] = []
    bad = 0
    for number, row in enumerate(rows, 1):
        try:
            good.append(check(row))
        except Unfit as unfit:
            bad += 1
            if bad <= MOST_PROBLEMS_SHOWN:
                problems.append(f"row {number}: {'; '.join(unfit.args)}")
    return good, problems, bad


def row_check(fields: Mapping[str, Parameter]) -> Callable[[Any], dict[str, Any]]:
    """What checks a row with these fields; it returns the row as it is sent, or raises :class:`Unfit`."""
    names = {name.lower(): name for name in fields}
    checks = {name: value_check(field.format) for name, field in fields.items()}
    required = [name for name, field in fields.items() if field.required]
    allowed = ", ".join(fields)

    def check(row: Any) -> dict[str, Any]:
        if not isinstance(row, Mapping):
            raise Unfit(f"expected an object with {allowed}, got {shown(row)}")
        problems: list[str] = []
        checked: dict[str, Any] = {}
        seen: set[str] = set()
        for written, value in row.items():
            name = written if written in fields else names.get(str(written).lower())
            if name is None:
                problems.append(f"{shown(written)}: no such field (fields are {allowed})")
                continue
            if name in seen:
                problems.append(f"{name}: given twice")
            seen.add(name)
            if value is None and name not in required:
                continue
            try:
                checked[name] = checks[name](value)
            except Unfit as unfit:
                problems.extend(unfit.under(name))
        problems.extend(f"{name}: missing" for name in required if name not in seen)
        if problems:
            raise Unfit(*problems)
        return checked

    return check


def integer_value(expected: Integer, value: Any) -> int:
    """A whole number within the format's bounds."""
    number = None
    if isinstance(value, str):
        words = dict(expected.names)
        word = value.strip().lower()
        number = words.get(word)
        if number is None and re.fullmatch("[+-]?[0-9]{1,30}", word):
            number = int(word)
    else:
        number = _whole(value)
    if number is None:
        raise Unfit(f"{expectation(expected)}, got {shown(value)}")
    for refused, reason in expected.refused:
        if number == refused:
            raise Unfit(f"{number} is not accepted: {reason}")
    if not expected.minimum <= number <= (LARGEST_INTEGER if expected.maximum is None else expected.maximum):
        raise Unfit(f"{expectation(expected)}, got {shown(number)}")
    return number


def _whole(value: Any) -> int | None:
    """The whole number that a value of whatever library is; None for others."""
    if isinstance(value, bool):
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None


def _text(expected: Text, value: Any) -> str:
    text = _as_text(value)
    if text is None or (expected.choices and text not in expected.choices):
        raise Unfit(f"{expectation(expected)}, got {'another value' if expected.secret else shown(value)}")
    if not expected.choices and len(text.strip()) < expected.minimum_length:
        raise Unfit("must not be empty")
    if expected.maximum_length is not None and len(text) > expected.maximum_length:
        raise Unfit(f"at most {expected.maximum_length} characters, got {len(text)}")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Unfit("holds half of a surrogate pair, which is no character") from None
    return text


def _as_text(value: Any) -> str | None:
    if isinstance(value, str):
        return str.__str__(value)  # str() of an Enum is its name
    try:
        number = _whole(value)
        return None if number is None else str(number)
    except ValueError:  # more digits than Python writes
        return None


def _boolean(expected: Boolean, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    word = value.strip().lower() if isinstance(value, str) else _whole(value)
    if word in ("true", "1", 1):
        return True
    if word in ("false", "0", 0):
        return False
    raise Unfit(f"{expectation(expected)}, got {shown(value)}")


def _calendar_date(expected: CalendarDate, value: Any) -> str:
    if isinstance(value, datetime.datetime):
        return value.date().isoformat()
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, str) and re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value.strip()):
        with suppress(ValueError):
            return datetime.date.fromisoformat(value.strip()).isoformat()
    raise Unfit(f"{expectation(expected)}, got {shown(value)}")


def _utc_time(expected: UtcTime, value: Any) -> str:
    moment = value
    if isinstance(value, str) and len(value.strip()) > len("YYYY-MM-DD"):
        with suppress(ValueError):
            moment = datetime.datetime.fromisoformat(value.strip())
    if not isinstance(moment, datetime.datetime):
        raise Unfit(f"{expectation(expected)}, got {shown(value)}")
    if moment.tzinfo is not None:
        try:
            moment = moment.astimezone(datetime.UTC)
        except OverflowError:
            raise Unfit(f"{expectation(expected)}, got {shown(value)}") from None
    return moment.replace(tzinfo=None).isoformat(" ", "seconds")


def _joined(expected: Joined, value: Any) -> str:
    if isinstance(value, str):
        values: Sequence[Any] = [part.strip() for part in value.split(expected.separator)] if value.strip() else []
    elif isinstance(value, Sequence) and not isinstance(value, bytes):
        values = value
    else:
        values = [value]
    if expected.at_most is not None and len(values) > expected.at_most:
        raise Unfit(f"at most {expected.at_most} are allowed, got {len(values)}")
    if not values and not expected.optional:
        raise Unfit("an empty list; leave it out for all")
    check = value_check(expected.item)
    parts = []
    for number, item in enumerate(values, 1):
        try:
            part = str(check(item))
        except Unfit as unfit:
            raise Unfit(*unfit.under(f"value {number}")) from None
        if expected.separator in part:
            raise Unfit(f"value {number}: {shown(part)} contains the separator {expected.separator!r}")
        parts.append(part)
    return expected.separator.join(parts)


def expectation(expected: Format) -> str:
    """What a value must be, for an error."""
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


def shown(value: Any) -> str:
    """A value as an error shows it: cut off when long, with its type when that is not plain."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):
        return f"{type(value).__name__} of a size that cannot be shown"
    if len(text) > LONGEST_VALUE_SHOWN:
        text = f"{text[:LONGEST_VALUE_SHOWN]}..."
    return text if isinstance(value, (str, int, float)) else f"{type(value).__name__} {text}"
