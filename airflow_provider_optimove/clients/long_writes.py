"""What writes of many rows share: a journal that outlives crashes, and a log that says how far they are."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, TypeVar

import msgspec

from airflow_provider_optimove.exceptions import RemoteSystemError

LOG_INTERVAL = 10.0

ProgressT = TypeVar("ProgressT", bound=msgspec.Struct)


class Journal(Protocol):
    """Keeps the progress over crashes."""

    def load(self) -> Any:
        """What was saved last; None when nothing was."""
        ...

    def save(self, state: dict[str, Any]) -> None:
        """Keep this instead of what was saved before; returns when it is safe."""
        ...

    def clear(self) -> None:
        """Forget everything."""
        ...

    def finish(self) -> None:
        """All is done: forget everything as soon as nothing can make it be tried again."""
        ...


class Log(Protocol):
    """Gets the lines that the user reads."""

    def info(self, message: str, /, *arguments: Any) -> Any: ...
    def warning(self, message: str, /, *arguments: Any) -> Any: ...


class UnknownProgressError(Exception):
    """What the journal holds is no progress of this write."""


class Record:
    """The progress of a write, in its journal.

    :param journal: what keeps it; None where nothing can be kept.
    :param durable: whether it shall be kept.
    :param failed: makes the error of what could not be recorded, out of a message.
    :param so_far: tells what was done before, for that error.
    """

    def __init__(
        self,
        journal: Journal | None,
        *,
        durable: bool,
        failed: Callable[[str], RemoteSystemError],
        so_far: Callable[[], str],
    ) -> None:
        self._journal = journal
        self._failed = failed
        self._so_far = so_far
        self.remembers = journal is not None and durable
        """Whether a later try will know what this one did."""

    def load(self, kind: type[ProgressT]) -> ProgressT | None:
        """What an earlier try left; None where it left nothing.

        :param kind: what it should be.
        :raises UnknownProgressError: it is something else.
        """
        # Also what is not gone by is looked at: the journal then keeps it for a later try.
        kept = None if self._journal is None else self._journal.load()
        if kept is None or not self.remembers:
            return None
        try:
            return msgspec.convert(kept, kind)
        except msgspec.ValidationError:
            raise UnknownProgressError from None

    def mark(self) -> None:
        """For a later try that looks here: something was sent, and nobody knows what."""
        if self._journal is not None and not self.remembers:
            self._kept(partial(self._journal.save, {"durable": False}))

    def save(self, progress: msgspec.Struct) -> None:
        """Keep the progress.

        :raises RemoteSystemError: it cannot be kept.
        """
        if self._journal is not None and self.remembers:
            self._kept(partial(self._journal.save, msgspec.to_builtins(progress)))

    def save_or_warn(self, progress: msgspec.Struct, log: Log) -> None:
        """Keep the progress, if that is possible, while another error is in hand that is the one to be read.

        What is not kept counts as in doubt, which is the safe side.
        """
        try:
            self.save(progress)
        except RemoteSystemError as unsaved:
            log.warning("%s", unsaved)

    def forget(self) -> None:
        """Forget the progress: all shall be done again."""
        if self._journal is not None:
            self._kept(self._journal.clear)

    def finish(self) -> None:
        """All is done, and nothing more follows that could fail here."""
        if self._journal is not None:
            self._kept(self._journal.finish)

    def _kept(self, change: Callable[[], None]) -> None:
        try:
            change()
        except Exception as error:
            raise self._failed(
                f"the progress could not be recorded, so nothing more is sent; {self._so_far()}. Was the task cleared,"
                f" or is Airflow's API server away? {type(error).__name__}: {error}"
            ) from error


class Pace:
    """How many a second and the time that is left, told now and then.

    :param done: how many were done before.
    :param what: what they are, e.g. ``rows``.
    """

    def __init__(self, done: int, what: str = "rows") -> None:
        self._done_before = done
        self._what = what
        self._started = self._told = time.monotonic()

    def after(self, done: int, count: int, *, now: bool) -> str | None:
        """What to tell when so many are done; None when that was told lately.

        :param done: how many are done.
        :param count: how many there are.
        :param now: whether to tell it in any case.
        """
        moment = time.monotonic()
        if not now and moment - self._told < LOG_INTERVAL:
            return None
        self._told = moment
        rate = (done - self._done_before) / max(moment - self._started, 0.001)
        left = f", about {_duration((count - done) / rate)} left" if rate and count > done else ""
        return f"{rate:,.0f} {self._what} a second{left}"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
