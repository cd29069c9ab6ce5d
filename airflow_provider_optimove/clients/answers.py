"""What answers of any system mean: the server's own words, and what follows from a status. Values in, values out."""

from __future__ import annotations

import datetime
import html
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any, NoReturn

import msgspec

from airflow_provider_optimove.clients.http import ConnectionFailure, HttpAnswer, TryAgain
from airflow_provider_optimove.exceptions import SystemBesideError

LONGEST_EXPLANATION = 2_000
# Of a page, more is not looked at.
LONGEST_PAGE = 100_000
# Each part of it ends at the next "<", or never: what anybody may have answered is read in linear time.
NO_WORDS = re.compile(r"<(script|style)\b.*?(?:</\1>|\Z)|<[^<>]*>", re.IGNORECASE | re.DOTALL)
# Request Timeout and Too Early: no refusals, whatever their number says.
PASSING = (408, 425)
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
NO_DATA: tuple[Any, ...] = (None, "", [], {})


@dataclass(frozen=True)
class Explanation:
    """The server's own words."""

    text: str
    is_html: bool = False
    data: Any = field(default=None, repr=False)
    """What it is instead of an explanation: an object or an array that may hold anything."""


def explanation(body: bytes) -> Explanation:
    """The server's explanation in the body of an error: text, a JSON string or object, or an HTML page."""
    text = body.decode("utf-8", errors="replace").removeprefix("\ufeff").strip()
    if _is_html(text):
        words = NO_WORDS.sub(" ", text[:LONGEST_PAGE])
        return Explanation(clipped(" ".join(html.unescape(words).split())), is_html=True)
    try:
        value = msgspec.json.decode(text.encode())
    except (msgspec.DecodeError, RecursionError):
        return Explanation(clipped(text))
    if value in NO_DATA:
        return Explanation("")
    if isinstance(value, Mapping):
        by_name = {str(name).lower(): part for name, part in value.items()}
        named = [
            by_name[name]
            for name in ("error", "message", "errormessage", "title", "detail", "errors")
            if by_name.get(name)
        ]
        if named:
            return Explanation(clipped(": ".join(dict.fromkeys(str(part) for part in named))))
    data = value if isinstance(value, (Mapping, list)) else None
    return Explanation(clipped(value if isinstance(value, str) else text), data=data)


def said_of(answer: HttpAnswer, system: str) -> str:
    """The server's explanation of an error, with a remark where somebody else may have answered.

    :param answer: what came back.
    :param system: who should have answered, in the possessive case.
    """
    words = explanation(answer.body)
    said = words.text or answer.reason or "no explanation"
    remark = f" [an HTML page: a firewall or proxy may have answered in {system} place]" if words.is_html else ""
    return f"{said}{remark}"


def redirection(answer: HttpAnswer) -> str | None:
    """What to say of a redirect; None where the answer is none."""
    if not 300 <= answer.status < 400:
        return None
    target = answer.headers.get("Location", "nowhere")
    return f"redirected to {target.split('?')[0]}, which is not followed; is the host right?"


def retry_after(answer: HttpAnswer) -> float | None:
    """Seconds that the server asks to wait, if it does; from either form of ``Retry-After``."""
    value = answer.headers.get("Retry-After")
    if not value:
        return None
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", value.strip()):
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.UTC)
    return max(0.0, (moment - datetime.datetime.now(datetime.UTC)).total_seconds())


def clipped(text: str) -> str:
    """A text, cut off where it is too long for an error."""
    return text if len(text) <= LONGEST_EXPLANATION else f"{text[:LONGEST_EXPLANATION]}..."


def _is_html(text: str) -> bool:
    return bool(re.match(r"(?is)\s*<(!--|!doctype|html|head|body|\?xml|title)", text))


@dataclass(frozen=True)
class Operation:
    """What a call of a system beside Optimove does.

    :param system: who answers, e.g. ``Netmera``.
    :param name: what errors and the log call it.
    :param repeatable: whether repeating it is harmless.
    :param twice: what a second call may do where it is not, e.g. ``push twice``.
    """

    system: str
    name: str
    repeatable: bool
    twice: str = ""


def success_of(
    operation: Operation, outcome: HttpAnswer | ConnectionFailure, error: Callable[..., SystemBesideError]
) -> HttpAnswer:
    """The answer of a call that succeeded.

    :param operation: what was called.
    :param outcome: the answer, or that there was none.
    :param error: the class of the system's errors.
    :raises TryAgain: the call may be repeated: nothing happened, or it is harmless to repeat.
    :raises SystemBesideError: whatever repeating does not mend.
    """
    name = operation.name
    if isinstance(outcome, ConnectionFailure):
        failed = error(outcome.message, function=name)
        if not outcome.passing:
            raise failed
        again_or_doubt(operation, failed, happened=outcome.sent)
    status = outcome.status
    if 200 <= status < 300:
        return outcome
    if (told := redirection(outcome)) is not None:
        failed = error(told, function=name, status=status)
        if status == 303 and operation.twice:
            # Many servers lead there from a POST that they took.
            _leave_in_doubt(operation, failed)
        raise failed
    said = said_of(outcome, f"{operation.system}'s")
    if status == 429:
        raise TryAgain(error(f"too many calls: {said}", function=name, status=status), retry_after(outcome))
    if status >= 500 or status in PASSING:
        failed = error(f"the server failed: {said}", function=name, status=status)
        again_or_doubt(operation, failed, happened=True, after=retry_after(outcome))
    meanings = {
        401: "the credentials are not accepted: ",
        403: "not permitted: ",
        404: "no such address, or nothing there: ",
    }
    raise error(f"{meanings.get(status, '')}{said}", function=name, status=status, permanent=True)


def again_or_doubt(
    operation: Operation, error: SystemBesideError, *, happened: bool, after: float | None = None
) -> NoReturn:
    """Repeat what is harmless or surely did not happen; a write that may have happened is left to the user.

    :param operation: what was called.
    :param error: why it did not succeed.
    :param happened: whether it may have happened all the same.
    :param after: seconds that the server asked to wait.
    :raises TryAgain: the call may be repeated.
    :raises SystemBesideError: ``error``, permanent, and with what is in doubt.
    """
    if operation.repeatable or not happened:
        raise TryAgain(error, after)
    _leave_in_doubt(operation, error)
    raise error


def _leave_in_doubt(operation: Operation, error: SystemBesideError) -> None:
    error.permanent = error.may_have_happened = True
    error.message += in_doubt(operation.twice)
    error.args = (error.message,)


def in_doubt(twice: str) -> str:
    """What an error of a write says whose outcome is unknown.

    :param twice: what a second call may do.
    """
    return f"; the write may have taken effect or not, and it was not sent again because a second one may {twice}"
