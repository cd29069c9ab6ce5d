"""Events between trigger and worker: what is sent comes back as it was, and nothing else is believed."""

from __future__ import annotations

import json
from datetime import date

import pytest

from airflow_provider_optimove import exceptions
from airflow_provider_optimove.exceptions import (
    OptimoveAuthenticationError,
    OptimoveError,
    OptimoveInputError,
    OptimoveServerError,
)
from airflow_provider_optimove.triggers.events import (
    PERMANENT_ERRORS,
    date_of_success,
    error_event,
    permanent_error,
    success_event,
)

TARGET = date(2026, 11, 20)


@pytest.mark.parametrize("found", [date(2026, 11, 20), date(2026, 12, 1)])
def test_a_success_comes_back(found: date) -> None:
    event = json.loads(json.dumps(success_event(found)))
    assert event == {"status": "success", "date": found.isoformat()}
    assert permanent_error(event) is None
    assert date_of_success(event, TARGET) == found


@pytest.mark.parametrize("error_class", PERMANENT_ERRORS)
def test_an_error_comes_back_as_the_trigger_met_it(error_class: type[OptimoveError]) -> None:
    error = error_class("no", function="GetLastDataUpdate")
    if error_class is not OptimoveInputError:
        error.status = 418
    back = permanent_error(json.loads(json.dumps(error_event(error))))
    assert type(back) is error_class
    assert (back.message, back.function, back.status) == ("no", "GetLastDataUpdate", error.status)
    assert str(back) == str(error)


def test_all_bad_fields_of_a_connection_are_kept() -> None:
    error = OptimoveInputError("connection x is not valid", problems=["host: missing", "password: missing"])
    assert str(permanent_error(error_event(error))) == str(error)


def test_an_error_of_a_narrower_class_is_sent_under_the_known_name() -> None:
    class RefusedLogin(OptimoveAuthenticationError):
        pass

    assert error_event(RefusedLogin("no"))["error"] == "OptimoveAuthenticationError"


ERROR = error_event(OptimoveAuthenticationError("no", status=401))


@pytest.mark.parametrize(
    "event",
    [
        {"status": "error"},
        ERROR | {"error": "OptimoveServerError"},
        ERROR | {"error": "OptimoveError"},
        ERROR | {"error": "SystemExit"},
        ERROR | {"error": "MOST_PROBLEMS_SHOWN"},
        ERROR | {"error": None},
        ERROR | {"error": ["OptimoveInputError"]},
        ERROR | {"message": None},
        ERROR | {"function": {"a": 1}},
        ERROR | {"status_code": "401"},
    ],
)
def test_an_error_that_no_trigger_sends_is_refused(event: dict[str, object]) -> None:
    with pytest.raises(OptimoveError) as raised:
        permanent_error(event)
    assert type(raised.value) is OptimoveError


@pytest.mark.parametrize(
    "event",
    [
        None,
        True,
        "success",
        "2026-11-20",
        [],
        {},
        {"date": "2026-11-20"},
        {"status": "ok", "date": "2026-11-20"},
        {"status": "success"},
        {"status": "success", "date": None},
        {"status": "success", "date": date(2026, 11, 20)},
        {"status": "success", "date": "20261120"},
        {"status": "success", "date": "2026-W47-5"},
        {"status": "success", "date": "2026-11-20T00:00"},
        {"status": "success", "date": "2026-13-01"},
        {"status": "success", "date": "2026-11-19"},
    ],
)
def test_what_does_not_end_the_wait_is_refused(event: object) -> None:
    assert permanent_error(event) is None
    with pytest.raises(OptimoveError, match="2026-11-20"):
        date_of_success(event, TARGET)


def test_every_error_is_either_permanent_or_may_pass() -> None:
    may_pass = {
        OptimoveError,
        OptimoveServerError,
        exceptions.OptimoveRateLimitError,
        exceptions.OptimoveResponseError,
        # Only writes raise these.
        exceptions.OptimoveUncertainWriteError,
        exceptions.OptimoveRejectedRowsError,
    }
    errors = {
        error
        for error in vars(exceptions).values()
        if isinstance(error, type) and issubclass(error, OptimoveError) and error.__module__ == exceptions.__name__
    }
    assert errors == may_pass | set(PERMANENT_ERRORS)
