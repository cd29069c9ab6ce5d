"""Events between trigger and worker: what is sent comes back as it was, and nothing else is believed."""

from __future__ import annotations

import json

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
    error_event,
    permanent_error,
    success_event,
    success_in,
)


@pytest.mark.parametrize("value", ["2024-11-20", {"Status": "Successful", "Error": None}, [{"SendID": "S1"}]])
def test_a_success_comes_back(value: object) -> None:
    event = json.loads(json.dumps(success_event(value, {"campaign_id": 221})))
    assert permanent_error(event) is None
    assert success_in(event) == (value, {"campaign_id": 221})


@pytest.mark.parametrize("told", [None, "2024-11-20", ["target_date"], {1: 2}, 7])
def test_what_cannot_have_been_waited_for_is_refused(told: object) -> None:
    with pytest.raises(OptimoveError, match="neither"):
        success_in({"status": "success", "value": "2024-11-20", "waited_for": told})


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
        [],
        {},
        {"value": 1},
        {"status": "ok", "value": 1},
        {"status": "success"},
        {"status": "success", "value": 1},
    ],
)
def test_what_is_no_success_is_refused(event: object) -> None:
    assert permanent_error(event) is None
    with pytest.raises(OptimoveError, match="neither"):
        success_in(event)


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
