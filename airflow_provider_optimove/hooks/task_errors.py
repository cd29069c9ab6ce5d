"""Errors that end a task at once: ours, and Airflow's word for "do not retry" in one class."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_optimove import exceptions


class OptimoveInputError(exceptions.OptimoveInputError, AirflowFailException):
    """Arguments or rows are not valid."""


class OptimoveBadRequestError(exceptions.OptimoveBadRequestError, AirflowFailException):
    """Optimove refused the inputs."""


class OptimoveAuthenticationError(exceptions.OptimoveAuthenticationError, AirflowFailException):
    """The credentials are not accepted."""


class OptimovePermissionError(exceptions.OptimovePermissionError, AirflowFailException):
    """Not permitted."""


class OptimoveUnknownFunctionError(exceptions.OptimoveUnknownFunctionError, AirflowFailException):
    """No such function."""


class OptimoveRejectedRowsError(exceptions.OptimoveRejectedRowsError, AirflowFailException):
    """Optimove did not accept some of the rows."""


class OptimoveUncertainWriteError(exceptions.OptimoveUncertainWriteError, AirflowFailException):
    """A write whose outcome is unknown."""


class OptimoveCampaignFailedError(exceptions.OptimoveCampaignFailedError, AirflowFailException):
    """A campaign that was waited for failed."""


class NetmeraError(exceptions.NetmeraError, AirflowFailException):
    """A call of Netmera's failed for good."""


class SessionMError(exceptions.SessionMError, AirflowFailException):
    """A call of SessionM's failed for good."""


class StickyStreetError(exceptions.StickyStreetError, AirflowFailException):
    """A call of Sticky Street's failed for good."""


_ENDING: dict[type[exceptions.RemoteSystemError], type[exceptions.RemoteSystemError]] = {
    exceptions.OptimoveInputError: OptimoveInputError,
    exceptions.OptimoveBadRequestError: OptimoveBadRequestError,
    exceptions.OptimoveAuthenticationError: OptimoveAuthenticationError,
    exceptions.OptimovePermissionError: OptimovePermissionError,
    exceptions.OptimoveUnknownFunctionError: OptimoveUnknownFunctionError,
    exceptions.OptimoveRejectedRowsError: OptimoveRejectedRowsError,
    exceptions.OptimoveUncertainWriteError: OptimoveUncertainWriteError,
    exceptions.OptimoveCampaignFailedError: OptimoveCampaignFailedError,
    exceptions.NetmeraError: NetmeraError,
    exceptions.SessionMError: SessionMError,
    exceptions.StickyStreetError: StickyStreetError,
}


def ending_the_task(error: exceptions.RemoteSystemError) -> exceptions.RemoteSystemError:
    """The same error in the class that ends a task without a retry, where a retry cannot help.

    :param error: any error of ours.
    :returns: an error of a class below both ``type(error)`` and ``AirflowFailException``; ``error`` itself where
        Airflow shall retry.
    """
    ending = _ENDING.get(type(error))
    if ending is None or not error.permanent:
        return error
    translated = ending.__new__(ending)
    translated.args = error.args
    translated.__dict__.update(error.__dict__)
    return translated


@contextmanager
def permanent_errors_end_the_task() -> Iterator[None]:
    """Raise the errors of the block as :func:`ending_the_task` gives them."""
    try:
        yield
    except exceptions.RemoteSystemError as error:
        translated = ending_the_task(error)
        if translated is error:
            raise
        raise translated.with_traceback(error.__traceback__) from error.__cause__
