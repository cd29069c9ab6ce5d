"""What goes over the wire and what an answer means. Values in, values out: nothing is sent from here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn, TypedDict

import msgspec

from airflow_provider_optimove.clients.answers import (
    BYTE_ORDER_MARK,
    NO_DATA,
    clipped,
    explanation,
    in_doubt,
    redirection,
    retry_after,
    said_of,
)
from airflow_provider_optimove.clients.calls import CredentialsRefused
from airflow_provider_optimove.clients.http import BodyReader, ConnectionFailure, HttpAnswer, HttpRequest, TryAgain
from airflow_provider_optimove.clients.optimove.functions import Function
from airflow_provider_optimove.clients.optimove.pages import Page, PageReader, page_of
from airflow_provider_optimove.exceptions import (
    OptimoveAuthenticationError,
    OptimoveBadRequestError,
    OptimoveError,
    OptimovePermissionError,
    OptimoveRateLimitError,
    OptimoveRejectedRowsError,
    OptimoveResponseError,
    OptimoveServerError,
    OptimoveUncertainWriteError,
    OptimoveUnknownFunctionError,
)

LOGIN = "Login"
# Of a function that reads. 202 means not yet, 206 not all.
ANSWERED = (200, 203, 204)


def request_of(function: Function, bound: Mapping[str, Any], *, api_path: str = "") -> HttpRequest:
    """The request that carries checked arguments.

    :param function: what is called.
    :param bound: what :func:`arguments.bind` returned.
    :param api_path: prefix of every function's path.
    """
    path = f"{api_path}/{function.path}" if api_path else function.path
    body = None
    in_query = dict(bound)
    if not function.reads:
        own = {parameter.name for parameter in function.own_parameters}
        if function.body is not None and function.rows_parameter is not None:
            body = msgspec.json.encode(in_query.pop(function.rows_parameter.name))
        else:
            body = msgspec.json.encode({name: in_query.pop(name) for name in list(in_query) if name in own})
    query = tuple((name, _query_text(value)) for name, value in in_query.items())
    return HttpRequest(function.verb, path, query, body)


def judge(function: Function, outcome: HttpAnswer | ConnectionFailure, *, login_mode: bool) -> Any:
    """What an outcome means for the caller.

    :param function: what was called.
    :param outcome: the answer, or that there was none.
    :param login_mode: whether the call carried the token of a Login.
    :returns: the decoded answer; None or an empty list where Optimove has no data.
    :raises TryAgain: the call may be repeated: nothing happened, or the function is harmless to repeat.
    :raises CredentialsRefused: the token is not valid any more.
    :raises OptimoveError: whatever repeating does not mend.
    """
    if isinstance(outcome, ConnectionFailure):
        error = OptimoveServerError(outcome.message, function=function.name)
        if not outcome.passing:
            raise error
        _again_or_doubt(function, error, happened=outcome.sent)
    if not 200 <= outcome.status < 300:
        _raise_for_status(function, outcome, login_mode=login_mode)
    if function.reads and outcome.status not in ANSWERED:
        message = "Optimove accepted the call, but gave no answer, or not all of it"
        unanswered = OptimoveResponseError(message, function=function.name, status=outcome.status)
        raise TryAgain(unanswered, retry_after(outcome))
    return _read(function, outcome)


def judge_page(function: Function, outcome: HttpAnswer | ConnectionFailure, *, login_mode: bool) -> Page:
    """Like :func:`judge`, for a function that returns rows, which are left undecoded."""
    page = None
    if isinstance(outcome, HttpAnswer) and outcome.status in ANSWERED:
        page = outcome.content or page_of(outcome.body)
    if page is None:
        # No array of objects: nothing, or an error, which this raises.
        judge(function, outcome, login_mode=login_mode)
    return page or Page((), 0)


@dataclass(frozen=True)
class Reading:
    """How answers are read.

    :param judge: decides what an outcome means.
    :param body_reader: makes what reads the body of a success as it arrives; None: it is left to the judge as a whole.
    """

    judge: Callable[..., Any]
    body_reader: Callable[[], BodyReader] | None = None


DECODED = Reading(judge)
UNDECODED = Reading(judge_page, PageReader)


def _again_or_doubt(
    function: Function, error: OptimoveError, *, happened: bool, after: float | None = None
) -> NoReturn:
    """Repeat what is harmless or surely did not happen; a write that may have happened is left to the user."""
    if function.repeatable or not happened:
        raise TryAgain(error, after)
    does = "mail" if function.lane == "mail" else "count"
    raise OptimoveUncertainWriteError(
        error.message + in_doubt(f"{does} twice"),
        function=function.name,
        status=error.status,
    )


def _read(function: Function, answer: HttpAnswer) -> Any:
    text = answer.body.removeprefix(BYTE_ORDER_MARK).strip()
    value = None
    if text:
        try:
            value = msgspec.json.decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            _unreadable(function, answer, text, str(error))
    kind = function.answer
    if value in NO_DATA:
        if kind == "text" or _tells_success(function):
            _unexpected(function, answer, "an empty answer")
        return [] if kind == "rows" else None
    if not _fits(function, value):
        if function.answer == "rows" and isinstance(value, list) and any(isinstance(row, dict) for row in value):
            odd = next(row for row in value if not isinstance(row, dict))
            # A text may be an explanation. All else are customers' data.
            shown = isinstance(odd, str) and not function.tells_secrets
            _unexpected(function, answer, odd if shown else "an array of rows and something else")
        _unexpected(function, answer, _described(function, answer))
    if isinstance(value, Mapping) and _tells_success(function):
        _refuse_failed_send(function, answer, value)
    return value


def _tells_success(function: Function) -> bool:
    """Whether a success is one only if the answer says so."""
    return function.answer == "object" and "IsSuccess" in function.answer_shape.__annotations__


def _fits(function: Function, value: Any) -> bool:
    """Whether a decoded answer is what the function returns, and not an error in its place."""
    match function.answer:
        case "nothing":
            return False
        case "text":
            return isinstance(value, str)
        case "rows":
            return isinstance(value, list) and all(isinstance(row, dict) for row in value)
        case "date":
            fields = {"date"}
        case "object":
            fields = {name.lower() for name in function.answer_shape.__annotations__} - {"status", "error"}
    return isinstance(value, Mapping) and not fields.isdisjoint(str(name).lower() for name in value)


def _refuse_failed_send(function: Function, answer: HttpAnswer, value: Mapping[str, Any]) -> None:
    by_name = {str(name).lower(): part for name, part in value.items()}
    said = str(by_name.get("issuccess")).lower()
    if said in ("false", "0"):
        reason = by_name.get("error") or "no reason given"
        raise OptimoveRejectedRowsError(f"not sent: {reason}", function=function.name, status=answer.status)
    if said not in ("true", "1"):
        _unexpected(function, answer, _described(function, answer))


def _unreadable(function: Function, answer: HttpAnswer, text: bytes, reason: str) -> NoReturn:
    if text[:1] in (b"[", b"{", b'"'):
        message = f"the answer broke off after {len(answer.body):,} bytes, or is not JSON ({reason})"
        error = OptimoveResponseError(message, function=function.name, status=answer.status)
        _again_or_doubt(function, error, happened=True)
    _unexpected(function, answer, _described(function, answer))


def _described(function: Function, answer: HttpAnswer) -> str:
    words = explanation(answer.body)
    if words.is_html:
        return f"an HTML page ({words.text})"
    if function.tells_secrets:
        # In whatever form they are answered, there may be a secret in it that nobody knows yet to redact.
        return "something else, which is not shown"
    if words.data is not None and (function.answer == "rows" or function.group == "customers"):
        # These may be customers' data; so may names that nobody knows.
        if not isinstance(words.data, Mapping):
            return "an array of something else"
        documented = {name.lower() for name in function.answer_shape.__annotations__}
        names = [name for name in words.data if str(name).lower() in documented]
        return f"an object with {', '.join(names)}" if names else "an object"
    return words.text


def _unexpected(function: Function, answer: HttpAnswer, what: str) -> NoReturn:
    expected = {
        "nothing": "an empty answer",
        "text": "a token",
        "date": "a date",
        "object": "an object",
        "rows": "an array of rows",
    }[function.answer]
    message = f"expected {expected}, and Optimove answered: {clipped(what)}"
    error = OptimoveResponseError(message, function=function.name, status=answer.status)
    if function.repeatable:
        raise error
    _again_or_doubt(function, error, happened=True)


class _Facts(TypedDict):
    function: str
    status: int


def _raise_for_status(function: Function, answer: HttpAnswer, *, login_mode: bool) -> NoReturn:
    status = answer.status
    said = said_of(answer, "Optimove's")
    facts = _Facts(function=function.name, status=status)
    if (told := redirection(answer)) is not None:
        raise OptimoveResponseError(told, **facts)
    if function.name == LOGIN and status in (401, 500):
        raise OptimoveAuthenticationError(f"the user name or password is not accepted: {said}", **facts)
    expired = status == 403 and "expired" in f"{answer.reason} {said}".lower()
    if login_mode and function.name != LOGIN and (status == 401 or expired):
        message = f"the token of the session is refused, and so is a new one: {said}"
        raise CredentialsRefused(OptimoveAuthenticationError(message, **facts))
    if status == 401:
        raise OptimoveAuthenticationError(f"the API key is not accepted: {said}", **facts)
    if status == 403:
        raise OptimovePermissionError(
            f"not permitted: {said} (the key's or user's role lacks the permission,"
            " or this machine's address is not on the account's IP allow list)",
            **facts,
        )
    if status == 405:
        raise OptimoveUnknownFunctionError(f"Optimove does not know this function: {said}", **facts)
    if status == 429:
        raise TryAgain(OptimoveRateLimitError(f"too many calls: {said}", **facts), retry_after(answer))
    if status >= 500:
        error_5xx = OptimoveServerError(f"the server failed: {said}", **facts)
        _again_or_doubt(function, error_5xx, happened=True, after=retry_after(answer))
    if status == 409 and function.lane == "mail":
        said = f"{said} (a mail of this UniqueMessageID was accepted before; this one was not sent)"
    if status == 404:
        said = f"{said} (no such address; is the host right, and the connection's api_path?)"
    raise OptimoveBadRequestError(said, **facts)


def _query_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
