"""What a trigger tells the worker when it ends: plain JSON there, checked here. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from airflow_provider_optimove.exceptions import (
    OptimoveAuthenticationError,
    OptimoveBadRequestError,
    OptimoveError,
    OptimoveInputError,
    OptimovePermissionError,
    OptimoveUnknownFunctionError,
)

PERMANENT_ERRORS: tuple[type[OptimoveError], ...] = (
    OptimoveInputError,
    OptimoveBadRequestError,
    OptimoveAuthenticationError,
    OptimovePermissionError,
    OptimoveUnknownFunctionError,
)
"""Errors that asking again does not change. Every other error is one that may pass."""

_PERMANENT_BY_NAME = {error.__name__: error for error in PERMANENT_ERRORS}


def success_event(found: date) -> dict[str, Any]:
    """The event of a wait that is over.

    :param found: the data date that ended it.
    """
    return {"status": "success", "date": found.isoformat()}


def error_event(error: OptimoveError) -> dict[str, Any]:
    """The event of a wait that cannot succeed.

    :param error: one of :data:`PERMANENT_ERRORS`.
    """
    name = next(base.__name__ for base in type(error).__mro__ if base in PERMANENT_ERRORS)
    return {
        "status": "error",
        "error": name,
        "message": error.message,
        "function": error.function,
        "status_code": error.status,
    }


def permanent_error(event: object) -> OptimoveError | None:
    """The error that an event carries, as the trigger met it, or None when it carries none.

    :param event: what the trigger sent.
    :raises OptimoveError: the event says that it carries an error, but not one that a trigger sends.
    """
    if not isinstance(event, Mapping) or event.get("status") != "error":
        return None
    name, message = event.get("error"), event.get("message")
    function, status = event.get("function"), event.get("status_code")
    if (
        not isinstance(name, str)
        or name not in _PERMANENT_BY_NAME
        or not isinstance(message, str)
        or not isinstance(function, str | None)
        or not isinstance(status, int | None)
    ):
        raise OptimoveError("the trigger failed, and its event does not say why in a form that is known")
    error_class = _PERMANENT_BY_NAME[name]
    if issubclass(error_class, OptimoveInputError):
        return error_class(message, function=function)
    return error_class(message, function=function, status=status)


def date_of_success(event: object, target: date) -> date:
    """The data date that an event of success carries.

    :param event: what the trigger sent.
    :param target: the date that was waited for.
    :raises OptimoveError: this is no event of success, or its date comes before ``target``.
    """
    if isinstance(event, Mapping) and event.get("status") == "success":
        text = event.get("date")
        try:
            found = date.fromisoformat(text) if isinstance(text, str) and len(text) == 10 else None
        except ValueError:
            found = None
        if found is not None and found.isoformat() == text and found >= target:
            return found
    raise OptimoveError(f"the trigger's event is not one that ends a wait for data of {target}")
