"""What a trigger tells the worker when it ends: plain JSON there, checked here. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_optimove.exceptions import (
    OptimoveAuthenticationError,
    OptimoveBadRequestError,
    OptimoveCampaignFailedError,
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
    OptimoveCampaignFailedError,
)
"""Errors that asking again does not change. Every other error is one that may pass."""

_PERMANENT_BY_NAME = {error.__name__: error for error in PERMANENT_ERRORS}


def success_event(value: Any, waited_for: Mapping[str, Any]) -> dict[str, Any]:
    """The event of a wait that is over.

    :param value: what the sensor will return, plain JSON.
    :param waited_for: the arguments of the wait, plain JSON. Rendered anew on the worker, a template of the clock could
        give another day.
    """
    return {"status": "success", "value": value, "waited_for": dict(waited_for)}


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


def success_in(event: object) -> tuple[Any, dict[str, Any]]:
    """What an event of success carries: the value, and the arguments of the wait.

    :param event: what the trigger sent.
    :raises OptimoveError: this is no event of success.
    """
    if isinstance(event, Mapping) and event.get("status") == "success" and "value" in event:
        waited_for = event.get("waited_for")
        if isinstance(waited_for, Mapping) and all(isinstance(name, str) for name in waited_for):
            return event["value"], dict(waited_for)
    raise OptimoveError("the trigger's event says neither that the wait is over nor why it failed")
