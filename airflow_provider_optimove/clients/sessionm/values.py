"""The values of a campaign's attributes: each checked, and brought into the form that is sent."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from airflow_provider_optimove.clients.sessionm.endpoints import AttributeKind

LONGEST_VALUE_SHOWN = 100
TRUTH_VALUES = {"true": True, "1": True, "false": False, "0": False}


def attribute_of(kind: AttributeKind, value: Any) -> Any:
    """A value in the form that is sent; a time is a datetime in UTC.

    A text that says what was expected is taken for it: templates make text of everything.

    :param kind: what the attribute is.
    :param value: what was given for it.
    :raises ValueError: it is nothing of the kind; says what was expected.
    """
    expected, read = KINDS[kind]
    try:
        found = read(value)
    except (ValueError, OverflowError):
        found = None
    if found is None:
        shown = repr(value)[:LONGEST_VALUE_SHOWN] if isinstance(value, (str, int, float)) else type(value).__name__
        raise ValueError(f"expected {expected}, got {shown}")
    return found


def _text(value: Any) -> str | None:
    # "None" is what a template makes of nothing.
    if isinstance(value, str):
        return None if value.strip() == "None" else value
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None


def _integer(value: Any) -> int | None:
    if isinstance(value, str):
        return int(value) if re.fullmatch(r"-?[0-9]+", value.strip()) else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _boolean(value: Any) -> bool | None:
    return TRUTH_VALUES.get(str(value).strip().lower()) if isinstance(value, (str, int)) else None


def _object(value: Any) -> Mapping[str, Any] | None:
    if isinstance(value, str):
        value = msgspec.json.decode(value)
    return value if isinstance(value, Mapping) else None


def _time(value: Any) -> datetime.datetime | None:
    if isinstance(value, str):
        value = datetime.datetime.fromisoformat(value.strip()) if len(value.strip()) > len("YYYY-MM-DD") else None
    if not isinstance(value, datetime.datetime):
        return None
    return value.replace(tzinfo=datetime.UTC) if value.tzinfo is None else value.astimezone(datetime.UTC)


KINDS: Mapping[AttributeKind, tuple[str, Callable[[Any], Any]]] = {
    "text": ("a text", _text),
    "integer": ("a whole number", _integer),
    "boolean": ("true or false", _boolean),
    "time": ("a datetime, or a text such as 2026-11-20T09:30:00Z", _time),
    "object": ("an object, or its text in JSON", _object),
}
