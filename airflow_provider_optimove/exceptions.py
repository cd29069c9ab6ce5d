"""Every error that a user of the provider can meet or catch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

MOST_PROBLEMS_SHOWN = 20


class RemoteSystemError(Exception):
    """Base of the errors of all systems: Optimove, Netmera, SessionM and Sticky Street.

    :param message: what went wrong; the server's own explanation where there is one.
    :param function: what was called, by the system's name for it, e.g. ``AddPromotions``.
    :param status: HTTP status of the answer, or None when none was received.

    ``may_have_happened`` tells whether an attempt of the call, not necessarily the last, may have taken effect;
    ``permanent``, whether it ends a task at once, for trying again would not help; ``refused``, whether the answer says
    that nothing took effect.
    """

    may_have_happened = False
    permanent = False
    refused = False

    def __init__(self, message: str, *, function: str | None = None, status: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.function = function
        self.status = status

    def redact(self, redact: Callable[[str], str]) -> None:
        """Remove secrets from the message."""
        self._say(redact(self.message))

    def add(self, remark: str) -> None:
        """Append a remark to the message."""
        self._say(f"{self.message} ({remark})")

    def _say(self, message: str) -> None:
        self.message = message
        self.args = (message, *self.args[1:])

    def __str__(self) -> str:
        prefix = f"{self.function}: " if self.function else ""
        suffix = f" (HTTP {self.status})" if self.status is not None else ""
        return f"{prefix}{self.message}{suffix}"


class OptimoveError(RemoteSystemError):
    """Base of every error of the Optimove client, and of bad input to any of the clients."""


class OptimoveBadRequestError(OptimoveError):
    """Optimove refused the inputs (400, or another 4xx that no other error stands for)."""

    permanent = True


class OptimoveAuthenticationError(OptimoveError):
    """The API key, or the user name and password, are not accepted (401, or a refused Login)."""

    permanent = True


class OptimovePermissionError(OptimoveError):
    """403 that is not an expired token: the role lacks the permission, or the address is not on the allow list."""

    permanent = True


class OptimoveUnknownFunctionError(OptimoveError):
    """No such function: 405 from the server, or a name that is not in the catalogue."""

    permanent = True


class OptimoveRateLimitError(OptimoveError):
    """The rate limit did not clear in the time a call may take (429, or the client-side gate)."""


class OptimoveServerError(OptimoveError):
    """The server failed or could not be reached, and kept failing (5xx, connection failures)."""


class OptimoveResponseError(OptimoveError):
    """A success that is not what the function returns, or a redirect."""


class OptimoveUncertainWriteError(OptimoveError):
    """A write whose outcome is unknown, by a function that must not simply be repeated."""

    permanent = True
    may_have_happened = True


class OptimoveRejectedRowsError(OptimoveError):
    """Optimove did not accept some of the rows of a write."""

    permanent = True
    refused = True


class OptimoveCampaignFailedError(OptimoveError):
    """A campaign that was waited for failed; the message holds Optimove's Error."""

    permanent = True


class OptimoveInputError(OptimoveError, ValueError):
    """Arguments or rows are not valid; found before anything was sent.

    :param problems: one sentence a problem, naming the field, and the row by number (the first is row 1).
    :param count: how many problems there are, where ``problems`` does not hold them all.
    """

    permanent = True

    def __init__(
        self,
        message: str,
        *,
        function: str | None = None,
        problems: Sequence[str] = (),
        count: int | None = None,
    ) -> None:
        self.problems = tuple(problems[:MOST_PROBLEMS_SHOWN])
        more = (len(problems) if count is None else count) - len(self.problems)
        lines = [message, *self.problems, *([f"... and {more:,} more"] if more > 0 else [])]
        OptimoveError.__init__(self, "\n  ".join(lines), function=function)


class SystemBesideError(RemoteSystemError):
    """Base of the errors of the systems beside Optimove, which have one class each.

    :param message: what went wrong; the server's own explanation where there is one.
    :param function: what was called, e.g. ``opt_in``.
    :param status: HTTP status of the answer, or None when none was received.
    :param permanent: whether it ends a task at once.
    :param may_have_happened: whether the call may have taken effect.
    :param refused: whether the answer says that nothing took effect.
    """

    def __init__(
        self,
        message: str,
        *,
        function: str | None = None,
        status: int | None = None,
        permanent: bool = False,
        may_have_happened: bool = False,
        refused: bool = False,
    ) -> None:
        super().__init__(message, function=function, status=status)
        self.permanent = permanent
        self.may_have_happened = may_have_happened
        self.refused = refused


class NetmeraError(SystemBesideError):
    """A call of Netmera's failed."""


class SessionMError(SystemBesideError):
    """A call of SessionM's failed.

    ``code`` is SessionM's word for the reason, e.g. ``opt_in_ended``, as it was answered; None where there is none.
    """

    code: str | None = None


class StickyStreetError(SystemBesideError):
    """A call of Sticky Street's failed."""
